"""3×3 convolutions over planes `[T, F, C]` tap by tap: for planes with few values and many channels.

The input lies in a *padded* plane: a row of zeros before and behind it, and one column of zeros before it, which is
what follows the last column of the row before. So every input of three neighbouring taps lies in a row, and the inputs
of the next output begin one value later: a product of matrices, without copying any.
"""

from collections.abc import Callable

import numpy as np

from worker.backends.numba.cpu.arena import Arena
from worker.backends.numba.cpu.compiling import Floats, compiled
from worker.backends.numba.cpu.products import PANEL, ROWS, multiply, panels
from worker.backends.numba.cpu.team import Team, cut, share_panels
from worker.backends.numba.cpu.vectors import ADDRESS, REAL, SIZE, Address, Code, emitted


@emitted(ADDRESS, REAL, ADDRESS)
def _write(code: Code, sums: Address, slope: Address, y: Address) -> None:
    """Leaky ReLU, a panel wide."""
    slopes = code.repeat(slope)
    for half in (0, 1):
        total = code.load(sums, half)
        code.store(total.at_least(slopes * total), y, half)


@emitted(ADDRESS, ADDRESS, ADDRESS, REAL, ADDRESS, ADDRESS)
def _add(code: Code, sums: Address, scale: Address, shift: Address, slope: Address, x: Address, y: Address) -> None:
    """x += sums, and y = lrelu(scale·x + shift), a panel wide."""
    slopes = code.repeat(slope)
    for half in (0, 1):
        total = code.load(x, half) + code.load(sums, half)
        code.store(total, x, half)
        normed = code.load(scale, half) * total + code.load(shift, half)
        code.store(normed.at_least(slopes * normed), y, half)


@compiled()
def _multiply_rows(a: Floats, filters: Floats, start: int, first: int, last: int, sums: Floats) -> None:
    """The convolution at `first` … `last`, counted through the padded rows, and `start` (or 0), for one panel."""
    width, inner, value, row = a.shape[1], filters.shape[1], SIZE * a.shape[2], SIZE * PANEL
    target = sums.ctypes.data
    for tap in range(3):
        source = a.ctypes.data + (first + tap * width - 1) * value
        given, given_row = (target, row) if tap else (start, 0)
        multiply(last - first, inner, source, value, filters[tap].ctypes.data, given, given_row, target, row)


@compiled()
def _convolve_into(
    a: Floats,
    filters: Floats,
    bias: Floats,
    slope: np.float32,
    first: int,
    last: int,
    some: tuple[int, int],
    y: Floats,
    sums: Floats,
) -> None:
    """Values `first` … `last` of padded y = lrelu(conv(padded a) + bias), counted through the padded rows.

    `filters` are `[panels, 3, 3·Cin, PANEL]`, of which `some` (first, last) are taken; `sums` `[values, PANEL]` is the
    caller's scratch.
    """
    width, value = y.shape[1], SIZE * y.shape[2]
    for panel in range(some[0], some[1]):
        column = SIZE * PANEL * panel
        # The very first one lies outside, and has no neighbour before it.
        for begin in range(max(first, 1), last, len(sums)):
            end = min(begin + len(sums), last)
            _multiply_rows(a, filters[panel], bias.ctypes.data + column, begin, end, sums)
            for at in range(begin, end):
                if at % width:
                    _write(sums[at - begin].ctypes.data, slope, y.ctypes.data + (at + width) * value + column)


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
    sums: Floats,
) -> None:
    """Those values of x += conv(padded a), and of padded y = lrelu(scale·x + shift) for what comes next."""
    width, value = y.shape[1], SIZE * y.shape[2]
    for panel in range(some[0], some[1]):
        column = SIZE * PANEL * panel
        # The very first one lies outside, and has no neighbour before it.
        for begin in range(max(first, 1), last, len(sums)):
            end = min(begin + len(sums), last)
            _multiply_rows(a, filters[panel], 0, begin, end, sums)
            for at in range(begin, end):
                if at % width:
                    _add(
                        sums[at - begin].ctypes.data, scale.ctypes.data + column, shift.ctypes.data + column, slope,
                        x[at // width, at % width - 1].ctypes.data + column,
                        y.ctypes.data + (at + width) * value + column,
                    )  # fmt: skip


@compiled()
def _pack_filters(weight: Floats, scale: Floats, first: int, last: int, filters: Floats) -> None:
    """Panels `first` … `last` of filters `[Cout, Cin, 3, 3]` → `[panels, 3, 3·Cin, PANEL]`, multiplied by `scale`."""
    inputs = weight.shape[1]
    for panel in range(first, last):
        for k in range(inputs):
            for row in range(3):
                for column in range(3):
                    for o in range(PANEL):
                        at = panel * PANEL + o
                        filters[panel, row, column * inputs + k, o] = weight[at, k, row, column] * scale[at]


class TapConvolution:
    """One convolution, shared out to a team."""

    def __init__(self, weight: Floats, scale: Floats, team: Team) -> None:
        """Pack filters `[Cout, Cin, 3, 3]`, each output's multiplied by its scale."""
        count = panels(len(weight))
        self._filters = team.shelf.take(count, 3, 3 * weight.shape[1], PANEL)
        team.prepare(count, lambda panel: _pack_filters(weight, scale, panel, panel + 1, self._filters))
        self._team = team

    @staticmethod
    def plane(arena: Arena, rows: int, columns: int, channels: int) -> Floats:
        """A padded plane, its values still to be written."""
        plane = arena.take(rows + 3, columns + 1, channels)
        plane[0], plane[rows + 1 :], plane[:, 0] = 0, 0, 0
        return plane

    def into(self, a: Floats, bias: Floats, slope: np.float32, size: tuple[int, int], y: Floats) -> None:
        """Padded y = lrelu(conv(padded a) + bias), planes of this size (T, F)."""

        def work(first: int, last: int, some: tuple[int, int], sums: Floats) -> None:
            _convolve_into(a, self._filters, bias, slope, first, last, some, y, sums)

        share_values(self._team, size[0] * (size[1] + 1), len(self._filters), work)

    def onto(self, a: Floats, scale: Floats, shift: Floats, slope: np.float32, x: Floats, y: Floats) -> None:
        """x += conv(padded a), and padded y = lrelu(scale·x + shift)."""

        def work(first: int, last: int, some: tuple[int, int], sums: Floats) -> None:
            _convolve_onto(a, self._filters, scale, shift, slope, first, last, some, x, y, sums)

        share_values(self._team, x.shape[0] * (x.shape[1] + 1), len(self._filters), work)


def share_values(team: Team, total: int, count: int, work: Callable[[int, int, tuple[int, int], Floats], None]) -> None:
    """Call `work(first, last, panels, sums)` for parts of so many values, each for all panels or for some."""
    size = cut(total, _MOST, unit=ROWS)[1]
    with team.arena.frame():
        spaces = [team.arena.take(_TURN, PANEL) for _ in range(team.size)]
        share_panels(
            team, total, size, count, lambda first, last, some, member: work(first, last, some, spaces[member])
        )


_MOST = 20 * ROWS
"""Values that a member of the team takes at once."""
_TURN = 4 * ROWS
"""Values of one turn."""
