"""What the engine may ask of a model, and a model of the backend that runs its networks.

A restorer makes a clean mel of samples, a vocoder samples of a mel.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

import worker.models.mathlib as _settled  # noqa: F401 - for what it does, before any model computes

if TYPE_CHECKING:
    from worker.models.networks import RestorerNetwork
    from worker.models.tfgan import TFGAN

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
"""What the networks compute in; what enters and leaves them is float32."""

Hashes = Callable[[], Mapping[str, str]]
"""Gives file name → sha256 of the checkpoints that a model was made of; raises `ModelError` if one is refused."""


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


class RestorerRunner(Protocol):
    """The restorer's two networks, ready to run."""

    def denoise(self, mel: torch.Tensor) -> torch.Tensor:
        """Linear mel `[B, 1, T, 128]` → masked linear mel."""
        ...

    def refine(self, mel: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        """Noisy and masked linear mel `[B, 1, T, 128]` → what is to be added to the log10 of the latter."""
        ...


class VocoderRunner(Protocol):
    """The vocoder's network, ready to run."""

    def __call__(self, condition: torch.Tensor, wanted: tuple[int, int]) -> torch.Tensor:
        """Normalised mel `[B, 128, L]` → the wanted ones of its 441·L samples, `[B, stop − start]`."""
        ...


class Backend(Protocol):
    """A way to run the networks: a library, a device and a precision.

    Tensors enter and leave on `device` as float32. A runner may take over the network's tensors: who hands a network
    over does not use it again, unless it says that it will.
    """

    name: str
    precision: Precision
    device: torch.device

    def run_restorer(self, network: RestorerNetwork, hashes: Hashes) -> RestorerRunner:
        """Prepare a network as it was trained.

        Its tensors may lie in a mapped file: none of them is kept. `hashes` are those of the files that it came from,
        which may take their time to be known.
        """
        ...

    def run_vocoder(self, network: TFGAN, hashes: Hashes) -> VocoderRunner:
        """Prepare a network whose weight norms are folded; `hashes` are those of the files that it came from."""
        ...
