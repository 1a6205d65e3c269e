"""The energy of short frames that follow each other, whatever blocks their samples come in."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


class FrameEnergies:
    """Takes planes `[channels, n]` in order; gives the energy of each frame of `size` samples, over all channels."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.total = 0.0
        """Energy of all samples so far."""
        self._open = 0.0
        self._filled = 0

    def add(self, planes: NDArray[np.floating[Any]]) -> Doubles:
        """Take the next samples; gives the energies of the frames that they fill."""
        head = (self.size - self._filled) % self.size
        if planes.shape[1] < head:
            head = planes.shape[1]
        whole = (planes.shape[1] - head) // self.size
        stop = head + whole * self.size
        first, full, last = _energy(planes[:, :head]), self._full(planes[:, head:stop]), _energy(planes[:, stop:])
        self.total += first + float(full.sum()) + last
        self._open += first
        self._filled += head
        if self._filled == self.size:
            full = np.concatenate(([self._open], full))
            self._open, self._filled = 0.0, 0
        if stop < planes.shape[1]:
            self._open, self._filled = last, planes.shape[1] - stop
        return full

    def _full(self, planes: NDArray[np.floating[Any]]) -> Doubles:
        energies = np.zeros(planes.shape[1] // self.size)
        for plane in planes:
            frames = plane.reshape(-1, self.size)
            energies += np.einsum("ij,ij->i", frames, frames)
        return energies


def _energy(planes: NDArray[np.floating[Any]]) -> float:
    return float(sum(np.dot(plane, plane) for plane in planes))
