"""Winograd's minimal filtering F(4, 3): four outputs of a convolution of length 3 from six products instead of twelve.

Y = Aᵀ[(G g) ⊙ (Bᵀ d)], by Toom and Cook at the points 0, ±3/4, ±3/2 and ∞ (arXiv:1509.09308). These points keep
rounding some 3 dB lower than the usual 0, ±1, ±2.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from worker.backends.numba.compiling import Floats

PRODUCTS = 6
NEAR, FAR = 0.75, 1.5
"""The two points that are taken with both signs."""


def filter_transform() -> NDArray[np.float64]:
    """G, `[6, 3]`."""
    points = np.array([0.0, NEAR, -NEAR, FAR, -FAR])
    rows = [point ** np.arange(3) / np.prod(point - np.delete(points, n)) for n, point in enumerate(points)]
    return np.array([*rows, [0.0, 0.0, 1.0]])


def transform_filters(weight: Tensor) -> Floats:
    """Filters `[Cout, Cin, 3]` → G g as `[6, Cin, Cout]`."""
    return _apply(filter_transform(), weight.permute(2, 1, 0))


def transform_planes(weight: Tensor) -> Floats:
    """Filters `[Cout, Cin, 3, 3]` → G g Gᵀ as `[36, Cin, Cout]`."""
    return _apply(
        np.kron(filter_transform(), filter_transform()).astype(np.float64), weight.permute(2, 3, 1, 0).flatten(0, 1)
    )


def _apply(turn: NDArray[np.floating], taps: Tensor) -> Floats:
    """A matrix `[products, taps]` on each filter of `[taps, Cin, Cout]`; by numpy, on one thread: the same anywhere."""
    products: Floats = turn.astype(np.float32) @ taps.reshape(len(taps), -1).numpy()
    return products.reshape(len(turn), *taps.shape[1:])
