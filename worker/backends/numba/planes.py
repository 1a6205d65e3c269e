"""The compiled loops of 3×3 convolutions over planes `[T, F, C]`, by Winograd's F(4×4, 3×3).

A *unit* is a tile of 4×4 outputs, made of 6×6 inputs by 36 products where a direct convolution takes 144. The input
lies in a *padded* plane: one row and one column of zeros before it, and zeros behind it up to whole tiles and one more.
"""

import numpy as np

from worker.backends.numba.blas import sgemm
from worker.backends.numba.compiling import Floats, compiled
from worker.backends.numba.kernels import ONE, multiply
from worker.backends.numba.winograd import collect, transform


@compiled()
def _transform_tiles(a: Floats, tiles: int, first: int, last: int, V: Floats, tmp: Floats) -> None:
    """Bᵀ d B of each unit: padded `a` → `V` `[36, units, C]`; `tmp` is `[36, C]`."""
    channels = a.shape[2]
    for unit in range(first, last):
        top, left = 4 * (unit // tiles), 4 * (unit % tiles)
        for i in range(6):
            row = a[top + i, left : left + 6]
            part = tmp[6 * i : 6 * i + 6]
            for c in range(channels):
                x0, x1, x2, x3, x4, x5 = row[0, c], row[1, c], row[2, c], row[3, c], row[4, c], row[5, c]
                part[0, c], part[1, c], part[2, c], part[3, c], part[4, c], part[5, c] = transform(
                    x0, x1, x2, x3, x4, x5
                )
        at = unit - first
        for k in range(6):
            column = tmp[k:]
            v0, v1, v2 = V[k, at], V[6 + k, at], V[12 + k, at]
            v3, v4, v5 = V[18 + k, at], V[24 + k, at], V[30 + k, at]
            for c in range(channels):
                x0, x1, x2 = column[0, c], column[6, c], column[12, c]
                x3, x4, x5 = column[18, c], column[24, c], column[30, c]
                v0[c], v1[c], v2[c], v3[c], v4[c], v5[c] = transform(x0, x1, x2, x3, x4, x5)


@compiled()
def _reduce_tile(M: Floats, at: int, half: Floats, tile: Floats) -> None:
    """Aᵀ m A of one unit: `M` `[36, units, C]` → `tile` `[16, C]`; `half` is `[24, C]`."""
    channels = M.shape[2]
    for k in range(6):
        m0, m1, m2 = M[k, at], M[6 + k, at], M[12 + k, at]
        m3, m4, m5 = M[18 + k, at], M[24 + k, at], M[30 + k, at]
        part = half[k:]
        for c in range(channels):
            part[0, c], part[6, c], part[12, c], part[18, c] = collect(m0[c], m1[c], m2[c], m3[c], m4[c], m5[c])
    for i in range(4):
        part = half[6 * i : 6 * i + 6]
        four = tile[4 * i : 4 * i + 4]
        for c in range(channels):
            four[0, c], four[1, c], four[2, c], four[3, c] = collect(
                part[0, c], part[1, c], part[2, c], part[3, c], part[4, c], part[5, c]
            )


@compiled()
def convolve_into(
    gemm: int,
    a: Floats,
    filters: Floats,
    bias: Floats,
    slope: np.float32,
    size: tuple[int, int],
    first: int,
    last: int,
    y: Floats,
    V: Floats,
    M: Floats,
    tmp: Floats,
    tile: Floats,
) -> None:
    """Units `first` … `last` of padded y = lrelu(conv(padded a) + bias), where they lie within `size` (T, F).

    `filters` are `[36, Cin, Cout]`; `V` `[36, units, Cin]`, `M` `[36, units, Cout]`, `tmp` `[36, max(Cin, Cout)]` and
    `tile` `[16, Cout]` are the caller's scratch.
    """
    rows, columns = size
    tiles = (columns + 3) // 4
    step = V.shape[1]
    for begin in range(first, last, step):
        end = min(begin + step, last)
        _transform_tiles(a, tiles, begin, end, V, tmp)
        multiply(gemm, V, filters, end - begin, M)
        for unit in range(begin, end):
            _reduce_tile(M, unit - begin, tmp, tile)
            top, left = 4 * (unit // tiles), 4 * (unit % tiles)
            for i in range(min(4, rows - top)):
                for k in range(min(4, columns - left)):
                    target, source = y[top + i + 1, left + k + 1], tile[4 * i + k]
                    for c in range(y.shape[2]):
                        value = source[c] + bias[c]
                        target[c] = max(value, slope * value)


@compiled()
def convolve_onto(
    gemm: int,
    a: Floats,
    filters: Floats,
    scale: Floats,
    shift: Floats,
    slope: np.float32,
    first: int,
    last: int,
    x: Floats,
    y: Floats,
    V: Floats,
    M: Floats,
    tmp: Floats,
    tile: Floats,
) -> None:
    """Units `first` … `last` of x += conv(padded a), and of padded y = lrelu(scale·x + shift) for what comes next."""
    rows, columns = x.shape[0], x.shape[1]
    tiles = (columns + 3) // 4
    step = V.shape[1]
    for begin in range(first, last, step):
        end = min(begin + step, last)
        _transform_tiles(a, tiles, begin, end, V, tmp)
        multiply(gemm, V, filters, end - begin, M)
        for unit in range(begin, end):
            _reduce_tile(M, unit - begin, tmp, tile)
            top, left = 4 * (unit // tiles), 4 * (unit % tiles)
            for i in range(min(4, rows - top)):
                for k in range(min(4, columns - left)):
                    kept, target, source = x[top + i, left + k], y[top + i + 1, left + k + 1], tile[4 * i + k]
                    for c in range(x.shape[2]):
                        kept[c] += source[c]
                        value = scale[c] * kept[c] + shift[c]
                        target[c] = max(value, slope * value)


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
def mix(gemm: int, x: Floats, weights: Floats, first: int, last: int, y: Floats) -> None:
    """Rows `first` … `last` of y += x·weights, a 1×1 convolution of planes `[T, F, C]`; `weights` `[Cin, Cout]`."""
    inputs, outputs = weights.shape
    count = (last - first) * x.shape[1]
    sgemm(
        gemm, count, outputs, inputs, x[first:].ctypes.data, inputs, weights.ctypes.data, outputs,
        ONE, y[first:].ctypes.data, outputs,
    )  # fmt: skip
