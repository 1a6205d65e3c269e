"""Networks that cost nothing and whose reach is known, to prove the way of the data around them."""

from collections.abc import Hashable, Sequence

import torch

from worker.models.constants import HOP, N_MELS, WINDOW
from worker.models.interface import MelSpan, RestoreCondition


class StandInRestorer:
    """Each frame's mel is what its own 2,048 samples hold: windows must agree with the whole file exactly."""

    model_type = "StandInRestorer"
    weights: dict[str, str] = {}  # noqa: RUF012

    def restore(self, padded: torch.Tensor, conditions: Sequence[RestoreCondition]) -> torch.Tensor:
        frames = padded.unfold(1, WINDOW, HOP)
        bands = frames.reshape(*frames.shape[:2], N_MELS, -1)
        return bands.abs().mean(dim=-1)[:, None]


class StandInVocoder:
    """Each sample is its frame's first bins: the samples tell which frame and which file they are of."""

    model_type = "StandInVocoder"
    weights: dict[str, str] = {}  # noqa: RUF012

    def shape_key(self, frames: int, span: MelSpan) -> Hashable:
        return frames, span.start - span.first_frame * HOP, span.stop - span.start

    def vocode(self, mel: torch.Tensor, spans: Sequence[MelSpan]) -> torch.Tensor:
        made = []
        for item, span in zip(mel[:, 0], spans, strict=True):
            positions = torch.arange(span.start, span.stop)
            frames = positions // HOP - span.first_frame
            near = (item[frames, positions % N_MELS] + item[(frames + 3).clamp(max=len(item) - 1), 5]) / 2
            made.append(near)
        return torch.stack(made)
