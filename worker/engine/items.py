"""What is asked of models: one channel of one window."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.models.interface import MelSpan, RestoreCondition

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class RestoreItem:
    """One channel of a restorer window.

    Attributes:
        padded: samples `[441·(F−1) + 2048]` float32, 1,024 more on each side than the frames' centres.
        condition: mode, seed and noise profile.
    """

    padded: Floats
    condition: RestoreCondition


@dataclass(frozen=True)
class VocodeItem:
    """One channel of a vocoder window.

    Attributes:
        mel: `[t, 128]` float32.
        span: where it lies and which samples are wanted.
    """

    mel: Floats
    span: MelSpan
