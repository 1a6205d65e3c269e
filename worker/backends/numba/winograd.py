"""Winograd's minimal filtering F(4, 3): four outputs of a convolution of length 3 from six products instead of twelve.

Y = Aᵀ[(G g) ⊙ (Bᵀ d)], by Toom and Cook at the points 0, ±3/4, ±3/2 and ∞ (arXiv:1509.09308). These points keep
rounding some 3 dB lower than the usual 0, ±1, ±2.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from worker.backends.numba.compiling import Floats, compiled

PRODUCTS = 6
NEAR, FAR = 0.75, 1.5
"""The two points that are taken with both signs."""


def filter_transform() -> NDArray[np.float64]:
    """G, `[6, 3]`."""
    points = np.array([0.0, NEAR, -NEAR, FAR, -FAR])
    rows = [point ** np.arange(3) / np.prod(point - np.delete(points, n)) for n, point in enumerate(points)]
    return np.array([*rows, [0.0, 0.0, 1.0]])


def transform_filters(weight: Tensor) -> Floats:
    """Filters `[Cout, Cin, 3]` → G g as `[6, Cin, Cout]`, worked out in float64 and rounded once."""
    outputs, inputs, _ = weight.shape
    transformed = np.empty((PRODUCTS, inputs, outputs), np.float32)
    _transform_lines(weight.contiguous().numpy(), filter_transform(), transformed)
    return transformed


def transform_planes(weight: Tensor) -> Floats:
    """Filters `[Cout, Cin, 3, 3]` → G g Gᵀ as `[36, Cin, Cout]`, worked out in float64 and rounded once."""
    outputs, inputs, _, _ = weight.shape
    transformed = np.empty((PRODUCTS**2, inputs, outputs), np.float32)
    _transform_planes(weight.contiguous().numpy(), filter_transform(), transformed)
    return transformed


@compiled()
def _transform_lines(weight: Floats, turn: NDArray[np.float64], transformed: Floats) -> None:
    for i in range(weight.shape[1]):
        for j in range(6):
            for o in range(weight.shape[0]):
                taps = weight[o, i]
                transformed[j, i, o] = turn[j, 0] * taps[0] + turn[j, 1] * taps[1] + turn[j, 2] * taps[2]


@compiled()
def _transform_planes(weight: Floats, turn: NDArray[np.float64], transformed: Floats) -> None:
    half = np.empty((6, 3), np.float64)
    for i in range(weight.shape[1]):
        for o in range(weight.shape[0]):
            taps = weight[o, i]
            for j in range(6):
                for k in range(3):
                    half[j, k] = turn[j, 0] * taps[0, k] + turn[j, 1] * taps[1, k] + turn[j, 2] * taps[2, k]
            for j in range(6):
                for k in range(6):
                    transformed[6 * j + k, i, o] = (
                        half[j, 0] * turn[k, 0] + half[j, 1] * turn[k, 1] + half[j, 2] * turn[k, 2]
                    )
