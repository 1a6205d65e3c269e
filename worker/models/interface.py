"""What the engine may ask of a model: a restorer makes a clean mel of samples, a vocoder samples of a mel."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True)
class RestoreCondition:
    """How one item of a batch is restored.

    `mode` is 0, 1 or 2. Mode 1 is mode 0 here: its band limit is applied to the samples before they come.
    `seed` draws the dropout of a mode 2 item. `noise_profile` is the file's mean noise magnitude per linear
    STFT bin, `[1025]` float32, which the weight-free restorer subtracts.
    """

    mode: int = 0
    seed: int = 0
    noise_profile: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class MelSpan:
    """Where a mel window lies in its file, in frames, and which samples of the file's output are wanted."""

    first_frame: int
    total_frames: int
    total_samples: int
    start: int
    stop: int


class Restorer(Protocol):
    """Samples in, clean mel out."""

    model_type: str
    weights: dict[str, str]
    """File name → sha256 of the checkpoints it was made of; empty for a weight-free model."""

    def restore(self, padded: torch.Tensor, conditions: Sequence[RestoreCondition]) -> torch.Tensor:
        """Restore windows of equal length.

        `padded` is `[B, 441·(F−1) + 2048]` float32 and includes 1024 samples on either side: true neighbours
        inside the file, the reflection at its ends (the caller did it). Gives the linear mel `[B, 1, F, 128]`
        of the uncentred frames. Raises `InputError`.
        """
        ...


class Vocoder(Protocol):
    """Mel in, samples out."""

    model_type: str
    weights: dict[str, str]

    def shape_key(self, frames: int, span: MelSpan) -> Hashable:
        """Items whose keys are equal may share a batch."""
        ...

    def vocode(self, mel: torch.Tensor, spans: Sequence[MelSpan]) -> torch.Tensor:
        """Give the samples `[B, stop − start]` that each span asks for, from mel windows `[B, 1, t, 128]`.

        A window needs true frames around the wanted samples as far as the model reaches, or the file's end;
        what belongs to the file's end (tail frames, trim) is done where the window reaches it.
        Raises `InputError`.
        """
        ...
