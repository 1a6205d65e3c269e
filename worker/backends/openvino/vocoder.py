"""The vocoder's network on OpenVINO: four stages, each as far as the next one needs it."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from worker.backends.openvino.parts import STAGES
from worker.backends.openvino.running import Array, PartRunner, Stretch
from worker.backends.openvino.tiles import Range, widen


class OpenVINOVocoder:
    """See `interface.VocoderRunner`. The items of a batch run one by one: a window keeps all cores busy."""

    def __init__(self, parts: Mapping[str, PartRunner]) -> None:
        self._parts = parts

    def __call__(self, condition: Tensor, wanted: Range) -> Tensor:
        """Normalised mel `[B, 128, L]` → the wanted ones of its 441·L samples, `[B, stop − start]`."""
        return torch.from_numpy(np.stack([self._vocode(item.numpy(), wanted) for item in condition]))

    def _vocode(self, condition: Array, wanted: Range) -> Array:
        x, length = Stretch(condition), condition.shape[1]
        for part, keep in zip(STAGES, plan(length, wanted), strict=True):
            (values,) = self._parts[part.name]([x], keep, length)
            factor = part.gives[0]
            x, length = Stretch(values, at=keep[0] * factor), length * factor
        return x.values[0, wanted[0] - x.at : wanted[1] - x.at]


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
