"""The vocoder's network on OpenVINO: four stages, each as far as the next one needs it."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from worker.backends.openvino.parts import STAGES, Part
from worker.backends.openvino.running import Array, PartRunner, Stretch
from worker.backends.openvino.tiles import Range, cut, widen
from worker.models.constants import HOP

PIECE = 512 * HOP
"""Samples for which the last three stages run at once. What they hold is a megabyte for each 25 milliseconds; the
first stage, which reaches furthest, is small and runs for the whole window."""


class OpenVINOVocoder:
    """See `interface.VocoderRunner`. The items of a batch run one by one: a window keeps all cores busy."""

    def __init__(self, parts: Mapping[str, PartRunner]) -> None:
        self._parts = parts

    def __call__(self, condition: Tensor, wanted: Range) -> Tensor:
        """Normalised mel `[B, 128, L]` → the wanted ones of its 441·L samples, `[B, stop − start]`."""
        return torch.from_numpy(np.stack([self._vocode(item.numpy(), wanted) for item in condition]))

    def _vocode(self, condition: Array, wanted: Range) -> Array:
        frames = condition.shape[1]
        wide = self._run(STAGES[0], Stretch(condition), plan(frames, wanted)[0], frames)
        pieces = []
        for tile in cut(wanted, length=frames * HOP, reach=0, largest=PIECE):
            x, length = wide, frames * STAGES[0].gives[0]
            for part, keep in zip(STAGES[1:], plan(frames, tile.keep)[1:], strict=True):
                x, length = self._run(part, x, keep, length), length * part.gives[0]
            pieces.append(x.values[0, tile.keep[0] - x.at : tile.keep[1] - x.at])
        return np.concatenate(pieces)

    def _run(self, part: Part, x: Stretch, keep: Range, length: int) -> Stretch:
        (values,) = self._parts[part.name]([x], keep, length)
        return Stretch(values, at=keep[0] * part.gives[0])


def plan(frames: int, wanted: Range) -> list[Range]:
    """The units that each stage is to give, walking back from the wanted samples of 441 a frame."""
    lengths = [frames]
    for part in STAGES:
        lengths.append(lengths[-1] * part.gives[0])
    keeps: list[Range] = []
    for part, length in zip(reversed(STAGES), reversed(lengths[:-1]), strict=True):
        factor = part.gives[0]
        keep = wanted[0] // factor, -(-wanted[1] // factor)
        keeps.append(keep)
        wanted = widen(keep, part.reach, length)
    return keeps[::-1]
