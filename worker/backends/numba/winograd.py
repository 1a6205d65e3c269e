"""Winograd's minimal filtering F(4, 3): four outputs of a convolution of length 3 from six products instead of twelve.

Y = Aᵀ[(G g) ⊙ (Bᵀ d)], by Toom and Cook at the points 0, ±3/4, ±3/2 and ∞ (arXiv:1509.09308). These points keep
rounding some 3 dB lower than the usual 0, ±1, ±2.
"""

import numpy as np
import torch
from torch import Tensor

OUTPUTS = 4
PRODUCTS = 6
NEAR, FAR = 0.75, 1.5
"""The two points that are taken with both signs."""


def filter_transform() -> Tensor:
    """G, `[6, 3]` float64."""
    points = np.array([0.0, NEAR, -NEAR, FAR, -FAR])
    rows = []
    for number, point in enumerate(points):
        others = np.delete(points, number)
        rows.append(point ** np.arange(3) / np.prod(point - others))
    return torch.from_numpy(np.array([*rows, [0.0, 0.0, 1.0]]))


def transform_planes(weight: Tensor) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    """Filters `[Cout, Cin, 3, 3]` → G g Gᵀ as `[36, Cin, Cout]` float32; see `transform_filters`."""
    turn = filter_transform()
    rows = torch.einsum("ia,ocab->icob", turn, weight.double())
    both = torch.einsum("jb,icob->ijco", turn, rows)
    return both.float().reshape(PRODUCTS**2, weight.shape[1], weight.shape[0]).contiguous().numpy()


def transform_filters(weight: Tensor) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    """Filters `[Cout, Cin, 3]` → `[6, Cin, Cout]` float32, worked out in float64 and rounded once."""
    return torch.einsum("jk,oik->jio", filter_transform(), weight.double()).float().contiguous().numpy()
