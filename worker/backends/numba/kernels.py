"""The compiled loops of one-dimensional convolutions over signals `[T, C]`, a row for each time.

A convolution of dilation d is d convolutions of dilation 1, each over every d-th row. A *unit* is what one Winograd
transform makes: the four rows t, t+d, t+2d, t+3d of the output. Units count up along the first of these rows, so the
rows that neighbouring units read and write are neighbours as well.
"""

import numpy as np

from worker.backends.numba.compiling import Floats, compiled
from worker.backends.numba.products import PANEL, multiply
from worker.backends.numba.vectors import ADDRESS, LANES, NUMBER, REAL, SIZE, Address, Code, emitted
from worker.backends.numba.winograd import PRODUCTS, collect, transform

ONE, ZERO = np.float32(1), np.float32(0)


def units(rows: int, dilation: int) -> int:
    """Units that `rows` of output take; the last ones have fewer than four rows where it does not divide."""
    blocks, rest = divmod(rows, 4 * dilation)
    return blocks * dilation + min(dilation, rest)


def worthy(rows: int, dilation: int) -> int:
    """The rows, from the first on, for which units cost less than the three products of each row."""
    rest = rows % (4 * dilation)
    return rows - rest if rest <= 2 * dilation else rows


@emitted(*[ADDRESS] * 6, ADDRESS, NUMBER, NUMBER, REAL, ADDRESS, ADDRESS, NUMBER)
def _transform_unit(code: Code, r0: Address, r1: Address, r2: Address, r3: Address, r4: Address, r5: Address,
                    v: Address, v_product: Address, channels: Address, slope: Address,
                    coming: Address, written: Address, step: Address) -> None:  # fmt: skip
    """Bᵀ of the leaky ReLU of six rows; the products' rows lie `v_product` bytes apart.

    Meanwhile memory brings the four rows from `coming` on, `step` bytes apart, and those that are to be written.
    """
    slopes = code.repeat(slope)
    with code.count(channels, LANES) as c:
        for row in range(4):
            code.fetch(code.at(coming, (step, row), (c, SIZE)))
            code.fetch(code.at(written, (step, row), (c, SIZE)), to_write=True)
        x = [code.load(code.at(row, (c, SIZE))) for row in (r0, r1, r2, r3, r4, r5)]
        for j, value in enumerate(transform([each.at_least(slopes * each) for each in x])):
            code.store(value, code.at(v, (v_product, j), (c, SIZE)))


@emitted(ADDRESS, NUMBER, ADDRESS, REAL, *[ADDRESS] * 4)
def _write_unit(code: Code, m: Address, m_product: Address, bias: Address, slope: Address,
                y0: Address, y1: Address, y2: Address, y3: Address) -> None:  # fmt: skip
    """Leaky ReLU of Aᵀ and the bias, a panel wide."""
    slopes = code.repeat(slope)
    for half in (0, 1):
        z = collect([code.load(code.at(m, (m_product, j)), half) for j in range(PRODUCTS)])
        for row, value in zip((y0, y1, y2, y3), z, strict=True):
            total = value + code.load(bias, half)
            code.store(total.at_least(slopes * total), row, half)


@emitted(ADDRESS, NUMBER, ADDRESS, *[ADDRESS] * 4)
def _add_unit(code: Code, m: Address, m_product: Address, bias: Address,
              y0: Address, y1: Address, y2: Address, y3: Address) -> None:  # fmt: skip
    """Aᵀ and the bias, added to what is there, a panel wide."""
    for half in (0, 1):
        z = collect([code.load(code.at(m, (m_product, j)), half) for j in range(PRODUCTS)])
        for row, value in zip((y0, y1, y2, y3), z, strict=True):
            code.store(code.load(row, half) + (value + code.load(bias, half)), row, half)


@compiled()
def _transform_rows(
    x: Floats, zero: Floats, d: int, first: int, last: int, slope: np.float32, V: Floats, y: Floats
) -> None:
    """Bᵀ of the leaky ReLU of each unit's six input rows. `y` is where their output will go."""
    rows, channels = x.shape
    at, nothing, row, product = x.ctypes.data, zero.ctypes.data, SIZE * channels, V.strides[0]
    for unit in range(first, last):
        t = 4 * d * (unit // d) + unit % d
        after = unit + V.shape[1]
        _transform_unit(
            at + (t - d) * row if t >= d else nothing,
            at + t * row,
            at + (t + d) * row if t + d < rows else nothing,
            at + (t + 2 * d) * row if t + 2 * d < rows else nothing,
            at + (t + 3 * d) * row if t + 3 * d < rows else nothing,
            at + (t + 4 * d) * row if t + 4 * d < rows else nothing,
            V[0, unit - first].ctypes.data, product, channels, slope,
            at + (4 * d * (after // d) + after % d) * row, y.ctypes.data + t * row, d * row,
        )  # fmt: skip


@compiled()
def _multiply_units(V: Floats, filters: Floats, zero: Floats, units: int, M: Floats) -> None:
    """M[j] = V[j]·filters[j] for one panel."""
    inner, nothing = V.shape[2], zero.ctypes.data
    for j in range(PRODUCTS):
        multiply(
            units, inner, V[j].ctypes.data, V.strides[1], filters[j].ctypes.data, nothing, 0,
            M[j].ctypes.data, M.strides[1],
        )  # fmt: skip


@compiled()
def convolve(
    x: Floats,
    filters: Floats,
    bias: Floats,
    dilation: int,
    first: int,
    last: int,
    turn: int,
    slope: np.float32,
    y: Floats,
    V: Floats,
    M: Floats,
    zero: Floats,
    spare: Floats,
) -> None:
    """Units `first` … `last` of y = lrelu(conv(lrelu(x))), `turn` at once.

    `x` and `y` are `[T, C]`, `filters` `[panels, 6, C, PANEL]`; `V` `[6, units, C]`, `M` `[6, units, PANEL]`, `zero`
    (of zeros) and `spare` `[C]` are the caller's scratch. Outside of `x` there are zeros.
    """
    rows, d = len(x), dilation
    at, nowhere, row, product = y.ctypes.data, spare.ctypes.data, SIZE * x.shape[1], M.strides[0]
    for begin in range(first, last, turn):
        end = min(begin + turn, last)
        _transform_rows(x, zero, d, begin, end, slope, V, y)
        for panel in range(len(filters)):
            _multiply_units(V, filters[panel], zero, end - begin, M)
            column = SIZE * PANEL * panel
            for unit in range(begin, end):
                t = 4 * d * (unit // d) + unit % d
                _write_unit(
                    M[0, unit - begin].ctypes.data, product, bias.ctypes.data + column, slope,
                    at + t * row + column,
                    at + (t + d) * row + column if t + d < rows else nowhere,
                    at + (t + 2 * d) * row + column if t + 2 * d < rows else nowhere,
                    at + (t + 3 * d) * row + column if t + 3 * d < rows else nowhere,
                )  # fmt: skip


@compiled()
def convolve_onto(
    x: Floats,
    filters: Floats,
    bias: Floats,
    dilation: int,
    first: int,
    last: int,
    turn: int,
    slope: np.float32,
    y: Floats,
    V: Floats,
    M: Floats,
    zero: Floats,
    spare: Floats,
) -> None:
    """Units `first` … `last` of y += conv(lrelu(x)); see `convolve`."""
    rows, d = len(x), dilation
    at, nowhere, row, product = y.ctypes.data, spare.ctypes.data, SIZE * x.shape[1], M.strides[0]
    for begin in range(first, last, turn):
        end = min(begin + turn, last)
        _transform_rows(x, zero, d, begin, end, slope, V, y)
        for panel in range(len(filters)):
            _multiply_units(V, filters[panel], zero, end - begin, M)
            column = SIZE * PANEL * panel
            for unit in range(begin, end):
                t = 4 * d * (unit // d) + unit % d
                _add_unit(
                    M[0, unit - begin].ctypes.data, product, bias.ctypes.data + column,
                    at + t * row + column,
                    at + (t + d) * row + column if t + d < rows else nowhere,
                    at + (t + 2 * d) * row + column if t + 2 * d < rows else nowhere,
                    at + (t + 3 * d) * row + column if t + 3 * d < rows else nowhere,
                )  # fmt: skip


@compiled()
def convolve_plainly(
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

    `taps` are `[3, panels, C, PANEL]`; `active` and `sums`, `[rows, C]`, are the caller's scratch.
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
            for panel in range(taps.shape[1]):
                if stop > start:
                    target = sums[start - shift - begin, panel * PANEL :].ctypes.data
                    multiply(
                        stop - start, channels, active.ctypes.data, active.strides[0], taps[tap, panel].ctypes.data,
                        target, sums.strides[0], target, sums.strides[0],
                    )  # fmt: skip
        for t in range(begin, end):
            for c in range(channels):
                y[t, c] = max(sums[t - begin, c], slope * sums[t - begin, c])


@compiled()
def transform_filters(weight: Floats, turn: Floats, first: int, last: int, filters: Floats) -> None:
    """Panels `first` … `last` of filters `[Cout, Cin, 3]`, transformed: `filters` `[panels, 6, Cin, PANEL]`.

    `turn` is G.
    """
    inputs = weight.shape[1]
    taps = np.empty((3, PANEL), np.float32)
    for panel in range(first, last):
        for k in range(inputs):
            for o in range(PANEL):
                for tap in range(3):
                    taps[tap, o] = weight[panel * PANEL + o, k, tap]
            for j in range(PRODUCTS):
                g0, g1, g2 = turn[j]
                for o in range(PANEL):
                    filters[panel, j, k, o] = g0 * taps[0, o] + g1 * taps[1, o] + g2 * taps[2, o]


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
def spread(x: Floats, weights: Floats, bias: Floats, first: int, last: int, y: Floats) -> None:
    """Rows `first` … `last` of a transposed convolution of kernel 2u and stride u: y[j] = (x[j−1], x[j])·weights.

    `x` is `[rows, Cin]` and begins with row `first − 1`; `weights` are packed from `[2·Cin, u·Cout]`, `bias`
    `[u·Cout]`; `y` is `[rows, u·Cout]`: u rows of the output each.
    """
    wide = y.shape[1]
    for panel in range(len(weights)):
        column = SIZE * PANEL * panel
        # Two neighbouring rows lie one after the other, as one of twice the length.
        multiply(
            last - first, weights.shape[1], x.ctypes.data, SIZE * x.shape[1], weights[panel].ctypes.data,
            bias.ctypes.data + column, 0, y[first].ctypes.data + column, SIZE * wide,
        )  # fmt: skip


@compiled()
def pack_spread(weight: Floats, factor: int, first: int, last: int, packed: Floats) -> None:
    """Panels `first` … `last` of what `spread` multiplies by, `[panels, 2·Cin, PANEL]`, of `[Cin, Cout, 2·factor]`."""
    inputs, outputs, _ = weight.shape
    for panel in range(first, last):
        row, column = divmod(panel * PANEL, outputs)
        for k in range(inputs):
            for o in range(PANEL):
                packed[panel, k, o] = weight[k, column + o, factor + row]
                packed[panel, inputs + k, o] = weight[k, column + o, row]


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
