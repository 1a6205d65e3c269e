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

P1, Q1 = np.float32(NEAR), np.float32(FAR)
P2, Q2 = np.float32(NEAR**2), np.float32(FAR**2)
P3, Q3 = np.float32(NEAR**3), np.float32(FAR**3)
PQ, PS = np.float32(NEAR**2 * FAR**2), np.float32(NEAR**2 + FAR**2)

Four = tuple[np.float32, np.float32, np.float32, np.float32]
Six = tuple[np.float32, np.float32, np.float32, np.float32, np.float32, np.float32]


@compiled()
def transform(x0: np.float32, x1: np.float32, x2: np.float32, x3: np.float32, x4: np.float32, x5: np.float32) -> Six:
    """Bᵀ of six neighbouring inputs."""
    even_far, odd_far = x4 - Q2 * x2, P1 * (x3 - Q2 * x1)
    even_near, odd_near = x4 - P2 * x2, Q1 * (x3 - P2 * x1)
    return (
        PQ * x0 - PS * x2 + x4,
        even_far + odd_far,
        even_far - odd_far,
        even_near + odd_near,
        even_near - odd_near,
        PQ * x1 - PS * x3 + x5,
    )


@compiled()
def collect(m0: np.float32, m1: np.float32, m2: np.float32, m3: np.float32, m4: np.float32, m5: np.float32) -> Four:
    """Aᵀ of six products: four neighbouring outputs."""
    even_near, odd_near = m1 + m2, m1 - m2
    even_far, odd_far = m3 + m4, m3 - m4
    return (
        m0 + even_near + even_far,
        P1 * odd_near + Q1 * odd_far,
        P2 * even_near + Q2 * even_far,
        P3 * odd_near + Q3 * odd_far + m5,
    )


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
