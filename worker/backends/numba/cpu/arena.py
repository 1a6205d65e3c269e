"""Memory that one pass leaves to the next: fresh pages cost the kernel a tenth of the time of a pass, or more."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_LINE = 16
"""Values of a cache line."""
_SIZE = 4
"""Bytes of a value."""


def aligned(*shape: int) -> Floats:
    """An array of these lengths, whatever it holds, that begins with a line of the cache.

    Vectors that lie in two lines cost twice the time.
    """
    size = prod(shape)
    block = np.empty(size + _LINE, np.float32)
    skip = -block.ctypes.data // _SIZE % _LINE
    return block[skip : skip + size].reshape(shape)


class Shelf:
    """Memory for what is kept: a few large blocks.

    They are not asked for as huge pages: those are quick where memory is, but a virtual machine's host may have to find
    each one first, and then loading takes some tenths of a second longer.
    """

    def __init__(self) -> None:
        self._free = np.empty(0, np.float32)

    def take(self, *shape: int) -> Floats:
        """An array of these lengths, whatever it holds, that begins with a line of the cache."""
        size = prod(shape)
        if size > len(self._free):
            self._free = _pages(max(size, _BLOCK))
        array, self._free = self._free[:size], self._free[-(-size // _LINE) * _LINE :]
        return array.reshape(shape)


_BLOCK = 16 << 20
"""Values of a block."""


def _pages(size: int) -> Floats:
    # Private: by default it would be shared with every child that is forked.
    memory = mmap.mmap(-1, size * _SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(memory, np.float32)


def aligned_copy(array: Floats) -> Floats:
    """The same values, from the beginning of a line of the cache on."""
    copy = aligned(*array.shape)
    copy[...] = array
    return copy


class Arena:
    """A stack of arrays in one block, which grows to what a pass needed and stays."""

    def __init__(self) -> None:
        self._block = np.empty(0, np.float32)
        self._used = 0
        self._needed = 0

    @contextmanager
    def frame(self) -> Iterator[None]:
        """Arrays that are taken within are given back at the end: nothing may hold them then.

        Frames nest. An arena is one thread's.
        """
        begun = self._used
        if not begun and self._needed > len(self._block):
            self._block = np.empty(0, np.float32)  # before there are two of them
            needed, self._needed = self._needed, 0  # a smaller pass is to work even where this is too much
            self._block = aligned(needed)
        try:
            yield
        finally:
            self._used = begun

    def take(self, *shape: int) -> Floats:
        """An array of these lengths, whatever it holds; within a frame."""
        size = prod(shape)
        start, self._used = self._used, self._used + -(-size // _LINE) * _LINE
        self._needed = max(self._needed, self._used)
        if self._used <= len(self._block):
            return self._block[start : start + size].reshape(shape)
        return aligned(*shape)
