"""Winograd's minimal filtering F(4, 3): four outputs of a convolution of length 3 from six products instead of twelve.

Y = Aᵀ[(G g) ⊙ (Bᵀ d)], by Toom and Cook at the points 0, ±3/4, ±3/2 and ∞ (arXiv:1509.09308). These points keep
rounding some 3 dB lower than the usual 0, ±1, ±2. All the numbers below are exact in float32.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

PRODUCTS = 6
NEAR, FAR = 0.75, 1.5
"""The two points that are taken with both signs."""

P1, Q1 = NEAR, FAR
P2, Q2 = NEAR**2, FAR**2
P3, Q3 = NEAR**3, FAR**3
PQ, PS = P2 * Q2, P2 + Q2

Value = TypeVar("Value")
"""Numbers, arrays of them or vectors of registers."""


def transform(x: list[Value]) -> list[Value]:
    """Bᵀ of six neighbouring inputs."""
    d: list[Any] = x
    even_far, odd_far = d[4] - Q2 * d[2], P1 * (d[3] - Q2 * d[1])
    even_near, odd_near = d[4] - P2 * d[2], Q1 * (d[3] - P2 * d[1])
    return [
        PQ * d[0] - PS * d[2] + d[4],
        even_far + odd_far,
        even_far - odd_far,
        even_near + odd_near,
        even_near - odd_near,
        PQ * d[1] - PS * d[3] + d[5],
    ]


def collect(products: list[Value]) -> list[Value]:
    """Aᵀ of six products: four neighbouring outputs."""
    m: list[Any] = products
    even_near, odd_near = m[1] + m[2], m[1] - m[2]
    even_far, odd_far = m[3] + m[4], m[3] - m[4]
    return [
        m[0] + even_near + even_far,
        P1 * odd_near + Q1 * odd_far,
        P2 * even_near + Q2 * even_far,
        P3 * odd_near + Q3 * odd_far + m[5],
    ]


def filter_transform() -> NDArray[np.float64]:
    """G, `[6, 3]`."""
    points = np.array([0.0, NEAR, -NEAR, FAR, -FAR])
    rows = [point ** np.arange(3) / np.prod(point - np.delete(points, n)) for n, point in enumerate(points)]
    return np.array([*rows, [0.0, 0.0, 1.0]])
