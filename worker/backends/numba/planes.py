"""What is done to planes `[T, F, C]` between their convolutions."""

import numpy as np

from worker.backends.numba.cpu.compiling import Floats, compiled
from worker.backends.numba.cpu.products import PANEL, multiply
from worker.backends.numba.cpu.vectors import ADDRESS, SIZE, Address, Code, emitted


@compiled()
def activate(
    x: Floats, scale: Floats, shift: Floats, slope: np.float32, first: int, last: int, y: Floats, at: int
) -> None:
    """Rows `first` … `last` of padded y = lrelu(scale·x + shift), into the channels of `y` from `at` on."""
    for t in range(first, last):
        for f in range(x.shape[1]):
            source, target = x[t, f], y[t + 1, f + 1, at : at + x.shape[2]]
            for c in range(x.shape[2]):
                value = scale[c] * source[c] + shift[c]
                target[c] = max(value, slope * value)


@compiled()
def halve(x: Floats, first: int, last: int, y: Floats) -> None:
    """Rows `first` … `last` of y = the mean of 2×2 values of x; `[T, F, C]` → `[T/2, F//2, C]`."""
    quarter = np.float32(0.25)
    for t in range(first, last):
        for f in range(y.shape[1]):
            a, b, d, e = x[2 * t, 2 * f], x[2 * t, 2 * f + 1], x[2 * t + 1, 2 * f], x[2 * t + 1, 2 * f + 1]
            target = y[t, f]
            for c in range(x.shape[2]):
                target[c] = (a[c] + b[c] + d[c] + e[c]) * quarter


@compiled()
def mix(x: Floats, weights: Floats, first: int, last: int, y: Floats) -> None:
    """Rows `first` … `last` of y += x·weights, a 1×1 convolution; `weights` are packed from `[Cin, Cout]`."""
    count = (last - first) * x.shape[1]
    row = SIZE * y.shape[2]
    for panel in range(len(weights)):
        target = y[first].ctypes.data + SIZE * PANEL * panel
        multiply(
            count, x.shape[2], x[first].ctypes.data, SIZE * x.shape[2], weights[panel].ctypes.data,
            target, row, target, row,
        )  # fmt: skip


@emitted(ADDRESS, ADDRESS)
def _copy(code: Code, source: Address, target: Address) -> None:
    """A panel's width."""
    for half in (0, 1):
        code.store(code.load(source, half), target, half)


@compiled()
def double(
    a: Floats, sides: Floats, middles: Floats, first: int, last: int, some: tuple[int, int], y: Floats, sums: Floats
) -> None:
    """A transposed 3×3 convolution of stride 2, without the last row: padded `a` (see `taps`) → `[2T, 2F+1, Cout]`.

    Done for `first` … `last`, counted through the padded rows, and for `some` (first, last) panels of the filters.
    `sides` are packed from `[3, 2·Cin, Cout]`: each row's last tap over its first one, which together make an even
    column; `middles` from `[3, Cin, Cout]`. `sums` `[values, PANEL]` is the caller's scratch.
    """
    width, value, row = a.shape[1], SIZE * a.shape[2], SIZE * PANEL
    target = sums.ctypes.data
    for panel in range(some[0], some[1]):
        for begin in range(first, last, len(sums)):
            end = min(begin + len(sums), last)
            here = a.ctypes.data + (begin + width) * value
            for odd_column in range(2):
                filters, inner = (middles, a.shape[2]) if odd_column else (sides, 2 * a.shape[2])
                source = here + odd_column * value
                for odd_row in range(2):
                    packed = filters[odd_row, panel].ctypes.data
                    multiply(end - begin, inner, source, value, packed, 0, 0, target, row)
                    if not odd_row:
                        packed = filters[2, panel].ctypes.data
                        multiply(end - begin, inner, source - width * value, value, packed, target, row, target, row)
                    for at in range(begin, end):
                        t, f = at // width, at % width
                        if f < width - odd_column:
                            place = y[2 * t + odd_row, 2 * f + odd_column]
                            _copy(sums[at - begin].ctypes.data, place.ctypes.data + row * panel)
