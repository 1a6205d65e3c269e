"""What the benches measure by."""

import math

import numpy as np
from numpy.typing import NDArray


def snr(reference: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Signal-to-noise ratio in dB of *other* as a copy of *reference*; infinite where they are equal.

    Zeros in both are equal; a silent reference with another copy is −inf.
    """
    wanted = np.asarray(reference, dtype=np.float64)
    error = np.asarray(other, dtype=np.float64) - wanted
    noise, signal = float(np.sum(error**2)), float(np.sum(wanted**2))
    if noise == 0.0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf
