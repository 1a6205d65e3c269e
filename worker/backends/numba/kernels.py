"""The compiled loops of one-dimensional convolutions over signals `[T, C]`, a row for each time.

A convolution of dilation d is d convolutions of dilation 1, each over every d-th row. A *unit* is what one Winograd
transform makes: the four rows t, t+d, t+2d, t+3d of the output. Units count up along the first of these rows, so the
rows that neighbouring units read and write are neighbours as well.
"""

import numpy as np

from worker.backends.numba.blas import sgemm
from worker.backends.numba.compiling import Floats, compiled
from worker.backends.numba.winograd import collect, transform

ONE, ZERO = np.float32(1), np.float32(0)


def units(rows: int, dilation: int) -> int:
    """Units that `rows` of output take; the last ones have fewer than four rows where it does not divide."""
    blocks, rest = divmod(rows, 4 * dilation)
    return blocks * dilation + min(dilation, rest)


def worthy(rows: int, dilation: int) -> int:
    """The rows, from the first on, for which units cost less than the three products of each row."""
    rest = rows % (4 * dilation)
    return rows - rest if rest <= 2 * dilation else rows


@compiled()
def _transform_rows(x: Floats, zero: Floats, d: int, first: int, last: int, slope: np.float32, V: Floats) -> None:
    """Bᵀ of the leaky ReLU of each unit's six input rows."""
    rows = x.shape[0]
    for unit in range(first, last):
        t = 4 * d * (unit // d) + unit % d
        i = unit - first
        r0 = x[t - d] if t >= d else zero
        r1 = x[t]
        r2 = x[t + d] if t + d < rows else zero
        r3 = x[t + 2 * d] if t + 2 * d < rows else zero
        r4 = x[t + 3 * d] if t + 3 * d < rows else zero
        r5 = x[t + 4 * d] if t + 4 * d < rows else zero
        v0, v1, v2, v3, v4, v5 = V[0, i], V[1, i], V[2, i], V[3, i], V[4, i], V[5, i]
        for c in range(x.shape[1]):
            x0, x1, x2 = max(r0[c], slope * r0[c]), max(r1[c], slope * r1[c]), max(r2[c], slope * r2[c])
            x3, x4, x5 = max(r3[c], slope * r3[c]), max(r4[c], slope * r4[c]), max(r5[c], slope * r5[c])
            v0[c], v1[c], v2[c], v3[c], v4[c], v5[c] = transform(x0, x1, x2, x3, x4, x5)


@compiled()
def _write_rows(
    M: Floats, bias: Floats, d: int, first: int, last: int, slope: np.float32, y: Floats, spare: Floats
) -> None:
    """Leaky ReLU of Aᵀ and the bias, into each unit's four rows."""
    rows = y.shape[0]
    for unit in range(first, last):
        t = 4 * d * (unit // d) + unit % d
        i = unit - first
        y0 = y[t]
        y1 = y[t + d] if t + d < rows else spare
        y2 = y[t + 2 * d] if t + 2 * d < rows else spare
        y3 = y[t + 3 * d] if t + 3 * d < rows else spare
        m0, m1, m2, m3, m4, m5 = M[0, i], M[1, i], M[2, i], M[3, i], M[4, i], M[5, i]
        for c in range(y.shape[1]):
            z0, z1, z2, z3 = collect(m0[c], m1[c], m2[c], m3[c], m4[c], m5[c])
            b = bias[c]
            y0[c], y1[c] = max(z0 + b, slope * (z0 + b)), max(z1 + b, slope * (z1 + b))
            y2[c], y3[c] = max(z2 + b, slope * (z2 + b)), max(z3 + b, slope * (z3 + b))


@compiled()
def _add_rows(M: Floats, bias: Floats, d: int, first: int, last: int, y: Floats, spare: Floats) -> None:
    """Aᵀ and the bias, added to each unit's four rows."""
    rows = y.shape[0]
    for unit in range(first, last):
        t = 4 * d * (unit // d) + unit % d
        i = unit - first
        y0 = y[t]
        y1 = y[t + d] if t + d < rows else spare
        y2 = y[t + 2 * d] if t + 2 * d < rows else spare
        y3 = y[t + 3 * d] if t + 3 * d < rows else spare
        m0, m1, m2, m3, m4, m5 = M[0, i], M[1, i], M[2, i], M[3, i], M[4, i], M[5, i]
        for c in range(y.shape[1]):
            z0, z1, z2, z3 = collect(m0[c], m1[c], m2[c], m3[c], m4[c], m5[c])
            b = bias[c]
            y0[c] += z0 + b
            y1[c] += z1 + b
            y2[c] += z2 + b
            y3[c] += z3 + b


@compiled()
def multiply(gemm: int, V: Floats, filters: Floats, count: int, M: Floats) -> None:
    """M[j] = V[j]·filters[j] for the first `count` units; `[products, units or Cin, Cin or Cout]`."""
    inputs, outputs = filters.shape[1], filters.shape[2]
    for j in range(len(filters)):
        sgemm(
            gemm, count, outputs, inputs, V[j].ctypes.data, inputs, filters[j].ctypes.data, outputs,
            ZERO, M[j].ctypes.data, outputs,
        )  # fmt: skip


@compiled()
def convolve(
    gemm: int,
    x: Floats,
    filters: Floats,
    bias: Floats,
    dilation: int,
    first: int,
    last: int,
    slope: np.float32,
    y: Floats,
    V: Floats,
    M: Floats,
    zero: Floats,
    spare: Floats,
) -> None:
    """Units `first` … `last` of y = lrelu(conv(lrelu(x))).

    `x` and `y` are `[T, C]`, `filters` `[6, C, C]`; `V`, `M` `[6, units, C]`, `zero` (of zeros) and `spare` `[C]` are
    the caller's scratch. Outside of `x` there are zeros.
    """
    for begin in range(first, last, V.shape[1]):
        end = min(begin + V.shape[1], last)
        _transform_rows(x, zero, dilation, begin, end, slope, V)
        multiply(gemm, V, filters, end - begin, M)
        _write_rows(M, bias, dilation, begin, end, slope, y, spare)


@compiled()
def convolve_onto(
    gemm: int,
    x: Floats,
    filters: Floats,
    bias: Floats,
    dilation: int,
    first: int,
    last: int,
    slope: np.float32,
    y: Floats,
    V: Floats,
    M: Floats,
    zero: Floats,
    spare: Floats,
) -> None:
    """Units `first` … `last` of y += conv(lrelu(x)); see `convolve`."""
    for begin in range(first, last, V.shape[1]):
        end = min(begin + V.shape[1], last)
        _transform_rows(x, zero, dilation, begin, end, slope, V)
        multiply(gemm, V, filters, end - begin, M)
        _add_rows(M, bias, dilation, begin, end, y, spare)


@compiled()
def convolve_plainly(
    gemm: int,
    x: Floats,
    taps: Floats,
    bias: Floats,
    dilation: int,
    first: int,
    last: int,
    slope: np.float32,
    y: Floats,
    active: Floats,
    sums: Floats,
) -> None:
    """Rows `first` … `last` of y = lrelu(conv(lrelu(x))), by a product for each of the three taps that meets a row.

    `taps` are `[3, C, C]`; `active` and `sums`, `[rows, C]`, are the caller's scratch.
    """
    rows, channels = x.shape
    for begin in range(first, last, len(sums)):
        end = min(begin + len(sums), last)
        for t in range(end - begin):
            sums[t] = bias
        for tap in range(3):
            shift = (tap - 1) * dilation
            start, stop = max(begin + shift, 0), min(end + shift, rows)
            for t in range(start, stop):
                for c in range(channels):
                    active[t - start, c] = max(x[t, c], slope * x[t, c])
            if stop > start:
                sgemm(
                    gemm, stop - start, channels, channels, active.ctypes.data, channels,
                    taps[tap].ctypes.data, channels, ONE, sums[start - shift - begin :].ctypes.data, channels,
                )  # fmt: skip
        for t in range(begin, end):
            for c in range(channels):
                y[t, c] = max(sums[t - begin, c], slope * sums[t - begin, c])


# π in three parts, whose products with a small integer are exact; and sin(r) ≈ r + r³·S(r²) up to π/2, to 2e-9
# (Abramowitz and Stegun, 4.3.97).
PI_1, PI_2, PI_3 = np.float32(3.140625), np.float32(9.670257568359375e-4), np.float32(6.2771141529083252e-7)
S3, S5, S7 = np.float32(-0.1666666664), np.float32(0.0083333315), np.float32(-0.0001984090)
S9, S11 = np.float32(0.0000027526), np.float32(-0.0000000239)
MOST_TURNS = np.float32(2**22)
ONE_BY_PI, HALF, TWO = np.float32(1 / np.pi), np.float32(0.5), np.float32(2)


@compiled()
def bend(x: Floats, slope: np.float32, first: int, last: int, target: Floats) -> None:
    """Rows `first` … `last` of y + sin(y), y = lrelu(x), into `target` from its start; zeros where `x` has none."""
    for t in range(first, last):
        if not 0 <= t < x.shape[0]:
            target[t - first] = ZERO
            continue
        source, into = x[t], target[t - first]
        for c in range(x.shape[1]):
            y = max(source[c], slope * source[c])
            turns = np.rint(y * ONE_BY_PI)
            r = ((y - turns * PI_1) - turns * PI_2) - turns * PI_3
            q = r * r
            sine = r + r * q * (S3 + q * (S5 + q * (S7 + q * (S9 + q * S11))))
            # Every other half turn is upside down.
            odd = turns - TWO * np.floor(turns * HALF)
            # Beyond that, neighbouring numbers are half turns apart, and their sine is nobody's guess.
            into[c] = y + (sine - TWO * odd * sine if abs(turns) < MOST_TURNS else y - y)


@compiled()
def spread(gemm: int, x: Floats, here: Floats, before: Floats, bias: Floats, first: int, last: int, y: Floats) -> None:
    """Rows `first` … `last` of a transposed convolution of kernel 2u and stride u: y[j] = x[j]·here + x[j−1]·before.

    `x` is `[rows, Cin]` and begins with row `first − 1`; `here` and `before` are `[Cin, u·Cout]`; `y` is
    `[rows, u·Cout]`: u rows of the output each.
    """
    inputs, wide = here.shape
    rows = last - first
    for j in range(first, last):
        y[j] = bias
    target = y[first:].ctypes.data
    sgemm(gemm, rows, wide, inputs, x[1:].ctypes.data, inputs, here.ctypes.data, wide, ONE, target, wide)
    sgemm(gemm, rows, wide, inputs, x.ctypes.data, inputs, before.ctypes.data, wide, ONE, target, wide)


@compiled(reorder=True)
def project(x: Floats, weights: Floats, slope: np.float32, first: int, last: int, y: Floats) -> None:
    """y[t] = weights · lrelu(x[t]) for rows `first` … `last`; `x` `[T, C]`, `weights` `[7, C]`, `y` `[T, 7]`."""
    for t in range(first, last):
        row = x[t]
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = ZERO
        for c in range(x.shape[1]):
            value = max(row[c], slope * row[c])
            s0 += value * weights[0, c]
            s1 += value * weights[1, c]
            s2 += value * weights[2, c]
            s3 += value * weights[3, c]
            s4 += value * weights[4, c]
            s5 += value * weights[5, c]
            s6 += value * weights[6, c]
        y[t, 0], y[t, 1], y[t, 2], y[t, 3], y[t, 4], y[t, 5], y[t, 6] = s0, s1, s2, s3, s4, s5, s6
