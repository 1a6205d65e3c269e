"""Convolutions of three taps over signals `[T, C]`, a row for each time, by Winograd's F(4, 3).

A convolution of dilation d is d convolutions of dilation 1, each over every d-th row. A *unit* is what one Winograd
transform makes: the four rows t, t+d, t+2d, t+3d of the output. Units count up along the first of these rows, so the
rows that neighbouring units read and write are neighbours as well.
"""

import numpy as np

from worker.backends.numba.cpu.compiling import Floats, compiled
from worker.backends.numba.cpu.products import PANEL, multiply
from worker.backends.numba.cpu.vectors import ADDRESS, LANES, NUMBER, REAL, SIZE, Address, Code, emitted
from worker.backends.numba.winograd import PRODUCTS, collect, transform


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
def _multiply_units(V: Floats, filters: Floats, units: int, M: Floats) -> None:
    """M[j] = V[j]·filters[j] for one panel."""
    inner = V.shape[2]
    for j in range(PRODUCTS):
        multiply(
            units, inner, V[j].ctypes.data, V.strides[1], filters[j].ctypes.data, 0, 0,
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
            _multiply_units(V, filters[panel], end - begin, M)
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
            _multiply_units(V, filters[panel], end - begin, M)
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
