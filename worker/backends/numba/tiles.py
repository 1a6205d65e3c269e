"""3×3 convolutions over planes `[T, F, C]` by Winograd's F(4×4, 3×3): for planes with many values and few channels.

A *unit* is a tile of 4×4 outputs, made of 6×6 inputs by 36 products where a direct convolution takes 144. The input
lies in a *padded* plane: one row and one column of zeros before it, and zeros behind it up to whole tiles and one more;
its channels fill whole vectors.
"""

from collections.abc import Callable, Iterator

import numpy as np

from worker.backends.numba.cpu.arena import Arena
from worker.backends.numba.cpu.compiling import Floats, compiled
from worker.backends.numba.cpu.products import PANEL, ROWS, multiply, panels
from worker.backends.numba.cpu.team import Team, cut, share_panels
from worker.backends.numba.cpu.vectors import ADDRESS, LANES, NUMBER, REAL, SIZE, Address, Code, Vector, emitted
from worker.backends.numba.winograd import PRODUCTS, collect, filter_transform, transform

SQUARED = PRODUCTS**2
Work = Callable[[int, int, tuple[int, int], tuple[Floats, Floats]], None]
_VALUES = 28 * 64
"""Values of a transformed input that are multiplied at once, for each of the products: they stay in the cache."""
_FEWEST = 42
"""Units that are worth it to read all filters for; a multiple of `ROWS`."""


@emitted(ADDRESS, NUMBER, NUMBER, ADDRESS, NUMBER, NUMBER)
def _transform_tile(code: Code, a: Address, a_row: Address, a_column: Address, v: Address, v_product: Address,
                    channels: Address) -> None:  # fmt: skip
    """Bᵀ d B of 6×6 inputs from `a` on; what belongs to neighbours lies these many bytes apart."""
    with code.count(channels, LANES) as c:
        lines = []
        for i in range(PRODUCTS):
            row = code.at(a, (a_row, i), (c, SIZE))
            lines.append(transform([code.load(code.at(row, (a_column, k))) for k in range(PRODUCTS)]))
        for k in range(PRODUCTS):
            for i, value in enumerate(transform([line[k] for line in lines])):
                code.store(value, code.at(v, (v_product, PRODUCTS * i + k), (c, SIZE)))


def _reduce(code: Code, m: Address, m_product: Address, half: int) -> list[list[Vector]]:
    """Aᵀ m A: four rows of four outputs."""
    columns = []
    for k in range(PRODUCTS):
        places = [code.at(m, (m_product, PRODUCTS * i + k)) for i in range(PRODUCTS)]
        columns.append(collect([code.load(place, half) for place in places]))
    return [collect([column[i] for column in columns]) for i in range(4)]


def _each(code: Code, high: Address, wide: Address) -> Iterator[tuple[int, int]]:
    """The outputs that are wanted of a tile, `high`×`wide` of 4×4."""
    for i in range(4):
        with code.when(i, high):
            for k in range(4):
                with code.when(k, wide):
                    yield i, k


@emitted(ADDRESS, NUMBER, ADDRESS, REAL, NUMBER, NUMBER, ADDRESS, NUMBER, NUMBER)
def _write_tile(code: Code, m: Address, m_product: Address, bias: Address, slope: Address, high: Address, wide: Address,
                y: Address, y_row: Address, y_column: Address) -> None:  # fmt: skip
    """Leaky ReLU of Aᵀ m A and the bias, a panel wide."""
    slopes = code.repeat(slope)
    for half in (0, 1):
        outputs, biases = _reduce(code, m, m_product, half), code.load(bias, half)
        for i, k in _each(code, high, wide):
            total = outputs[i][k] + biases
            code.store(total.at_least(slopes * total), code.at(y, (y_row, i), (y_column, k)), half)


@emitted(ADDRESS, NUMBER, ADDRESS, ADDRESS, REAL, NUMBER, NUMBER, ADDRESS, NUMBER, NUMBER, ADDRESS, NUMBER, NUMBER)
def _add_tile(code: Code, m: Address, m_product: Address, scale: Address, shift: Address, slope: Address,
              high: Address, wide: Address, x: Address, x_row: Address, x_column: Address,
              y: Address, y_row: Address, y_column: Address) -> None:  # fmt: skip
    """x += Aᵀ m A, and y = lrelu(scale·x + shift), a panel wide."""
    slopes = code.repeat(slope)
    for half in (0, 1):
        outputs, scales, shifts = _reduce(code, m, m_product, half), code.load(scale, half), code.load(shift, half)
        for i, k in _each(code, high, wide):
            kept = code.at(x, (x_row, i), (x_column, k))
            total = code.load(kept, half) + outputs[i][k]
            code.store(total, kept, half)
            normed = scales * total + shifts
            code.store(normed.at_least(slopes * normed), code.at(y, (y_row, i), (y_column, k)), half)


@compiled()
def _transform_tiles(a: Floats, tiles: int, first: int, last: int, V: Floats) -> None:
    """Bᵀ d B of each unit: padded `a` → `V` `[36, units, C]`."""
    row, column, product, channels = a.strides[0], a.strides[1], V.strides[0], a.shape[2]
    for unit in range(first, last):
        source = a.ctypes.data + 4 * (unit // tiles) * row + 4 * (unit % tiles) * column
        _transform_tile(source, row, column, V[0, unit - first].ctypes.data, product, channels)


@compiled()
def _multiply_units(V: Floats, filters: Floats, units: int, M: Floats) -> None:
    """M[j] = V[j]·filters[j] for one panel."""
    inner, row, m_row = filters.shape[1], V.strides[1], M.strides[1]
    for j in range(SQUARED):
        multiply(units, inner, V[j].ctypes.data, row, filters[j].ctypes.data, 0, 0, M[j].ctypes.data, m_row)


@compiled()
def _convolve_into(
    a: Floats,
    filters: Floats,
    bias: Floats,
    slope: np.float32,
    size: tuple[int, int],
    first: int,
    last: int,
    some: tuple[int, int],
    y: Floats,
    V: Floats,
    M: Floats,
) -> None:
    """Units `first` … `last` of padded y = lrelu(conv(padded a) + bias), where they lie within `size` (T, F).

    `filters` are `[panels, 36, Cin, PANEL]`, of which `some` (first, last) are taken; `V` `[36, units, channels of a]`,
    and `M` `[36, units, PANEL]` are the caller's scratch.
    """
    rows, columns = size
    tiles = (columns + 3) // 4
    row, column, product = y.strides[0], y.strides[1], M.strides[0]
    for begin in range(first, last, V.shape[1]):
        end = min(begin + V.shape[1], last)
        _transform_tiles(a, tiles, begin, end, V)
        for panel in range(some[0], some[1]):
            _multiply_units(V, filters[panel], end - begin, M)
            at = SIZE * PANEL * panel
            for unit in range(begin, end):
                top, left = 4 * (unit // tiles), 4 * (unit % tiles)
                _write_tile(
                    M[0, unit - begin].ctypes.data, product, bias.ctypes.data + at, slope, rows - top, columns - left,
                    y.ctypes.data + (top + 1) * row + (left + 1) * column + at, row, column,
                )  # fmt: skip


@compiled()
def _convolve_onto(
    a: Floats,
    filters: Floats,
    scale: Floats,
    shift: Floats,
    slope: np.float32,
    first: int,
    last: int,
    some: tuple[int, int],
    x: Floats,
    y: Floats,
    V: Floats,
    M: Floats,
) -> None:
    """Units `first` … `last` of x += conv(padded a), and of padded y = lrelu(scale·x + shift) for what comes next."""
    rows, columns = x.shape[0], x.shape[1]
    tiles = (columns + 3) // 4
    x_row, x_column, row, column, product = x.strides[0], x.strides[1], y.strides[0], y.strides[1], M.strides[0]
    for begin in range(first, last, V.shape[1]):
        end = min(begin + V.shape[1], last)
        _transform_tiles(a, tiles, begin, end, V)
        for panel in range(some[0], some[1]):
            _multiply_units(V, filters[panel], end - begin, M)
            at = SIZE * PANEL * panel
            for unit in range(begin, end):
                top, left = 4 * (unit // tiles), 4 * (unit % tiles)
                _add_tile(
                    M[0, unit - begin].ctypes.data, product, scale.ctypes.data + at, shift.ctypes.data + at, slope,
                    rows - top, columns - left,
                    x.ctypes.data + top * x_row + left * x_column + at, x_row, x_column,
                    y.ctypes.data + (top + 1) * row + (left + 1) * column + at, row, column,
                )  # fmt: skip


@compiled()
def _transform_filters(weight: Floats, scale: Floats, turn: Floats, first: int, last: int, filters: Floats) -> None:
    """Panels `first` … `last` of filters `[Cout, Cin, 3, 3]`, transformed: `filters` `[panels, 36, Cin, PANEL]`.

    `scale` `[Cout]` is what they are multiplied by, `turn` is G.
    """
    taps, half = np.empty((3, 3, PANEL), np.float32), np.empty((PRODUCTS, 3, PANEL), np.float32)
    for panel in range(first, last):
        for k in range(weight.shape[1]):
            for o in range(PANEL):
                for row in range(3):
                    for column in range(3):
                        taps[row, column, o] = weight[panel * PANEL + o, k, row, column] * scale[panel * PANEL + o]
            for j in range(PRODUCTS):
                g0, g1, g2 = turn[j]
                for column in range(3):
                    for o in range(PANEL):
                        half[j, column, o] = g0 * taps[0, column, o] + g1 * taps[1, column, o] + g2 * taps[2, column, o]
            for i in range(PRODUCTS):
                for j in range(PRODUCTS):
                    g0, g1, g2 = turn[j]
                    for o in range(PANEL):
                        filters[panel, PRODUCTS * i + j, k, o] = (
                            g0 * half[i, 0, o] + g1 * half[i, 1, o] + g2 * half[i, 2, o]
                        )


class TileConvolution:
    """One convolution, shared out to a team."""

    def __init__(self, weight: Floats, scale: Floats, team: Team) -> None:
        """Transform filters `[Cout, Cin, 3, 3]`, each output's multiplied by its scale."""
        count = panels(len(weight))
        self._filters = team.shelf.take(count, SQUARED, weight.shape[1], PANEL)
        turn = filter_transform().astype(np.float32)
        team.prepare(count, lambda panel: _transform_filters(weight, scale, turn, panel, panel + 1, self._filters))
        self._team = team

    @staticmethod
    def plane(arena: Arena, rows: int, columns: int, channels: int) -> Floats:
        """A padded plane, its values and the channels beyond `channels` still to be written."""
        wide = -(-channels // LANES) * LANES
        plane = arena.take(-(-rows // 4) * 4 + 2, -(-columns // 4) * 4 + 2, wide)
        plane[0], plane[rows + 1 :] = 0, 0
        plane[:, 0], plane[:, columns + 1 :] = 0, 0
        return plane

    def into(self, a: Floats, bias: Floats, slope: np.float32, size: tuple[int, int], y: Floats) -> None:
        """Padded y = lrelu(conv(padded a) + bias), planes of this size (T, F)."""

        def work(first: int, last: int, some: tuple[int, int], space: tuple[Floats, Floats]) -> None:
            _convolve_into(a, self._filters, bias, slope, size, first, last, some, y, *space)

        self._share(size, a.shape[2], work)

    def onto(self, a: Floats, scale: Floats, shift: Floats, slope: np.float32, x: Floats, y: Floats) -> None:
        """x += conv(padded a), and padded y = lrelu(scale·x + shift)."""

        def work(first: int, last: int, some: tuple[int, int], space: tuple[Floats, Floats]) -> None:
            _convolve_onto(a, self._filters, scale, shift, slope, first, last, some, x, y, *space)

        self._share((x.shape[0], x.shape[1]), a.shape[2], work)

    def _share(self, size: tuple[int, int], channels: int, work: Work) -> None:
        total = -(-size[0] // 4) * -(-size[1] // 4)
        team = self._team
        turn = cut(total, max(_FEWEST, _VALUES // channels), unit=ROWS)[1]
        with team.arena.frame():
            spaces = [_space(team.arena, turn, channels) for _ in range(team.size)]
            share_panels(
                team,
                total,
                turn,
                len(self._filters),
                lambda first, last, some, member: work(first, last, some, spaces[member]),
            )


def _space(arena: Arena, turn: int, channels: int) -> tuple[Floats, Floats]:
    """A member's scratch."""
    return arena.take(SQUARED, turn, channels), arena.take(SQUARED, turn, PANEL)
