"""Matrix products for compiled loops, the right side packed once: nothing is packed, allocated or shared out in a pass.

Each value is summed up in the order of the inner index, whichever rows are its neighbours: it does not depend on how
the rows are cut into parts.
"""

from typing import Any

import numpy as np

from worker.backends.numba.cpu.compiling import Floats, compiled
from worker.backends.numba.cpu.vectors import ADDRESS, LANES, NUMBER, REGISTERS, SIZE, Address, Code, emitted

PANEL = 2 * LANES
"""Columns that are multiplied at once."""
ROWS = (REGISTERS - 3) // 2
"""Rows whose sums fill the registers, beside two vectors of the right side and one value of the left."""
ROWS -= ROWS % 2
FEW = 4
"""Rows of which the sums still keep the processor busy."""
CHAIN = 256
"""Products that are summed up one after the other; longer sums are made of such chains, which keeps rounding low."""
_STEPS = 2
"""Inner steps in one turn of the loop; inner lengths are multiples of it."""
_AHEAD = 48 * PANEL
"""Values that are fetched ahead of the right side."""


def panels(columns: int) -> int:
    """Panels that so many columns take."""
    return -(-columns // PANEL)


@compiled()
def pack(matrix: Floats, packed: Floats, at: int) -> None:
    """`[inner, columns]`, of any strides, into `[panels, …, PANEL]` from the inner index `at` on.

    Columns that are missing are filled with zeros.
    """
    inner, columns = matrix.shape
    for panel in range(len(packed)):
        for k in range(inner):
            for o in range(PANEL):
                column = panel * PANEL + o
                packed[panel, at + k, o] = matrix[k, column] if column < columns else np.float32(0)


def _emit(rows: int) -> Any:
    """Rows c = start + a·b: `inner` values of each row of a, times one panel; rows lie `…_row` bytes apart."""

    @emitted(NUMBER, ADDRESS, NUMBER, ADDRESS, ADDRESS, NUMBER, ADDRESS, NUMBER)
    def product(
        code: Code,
        inner: Address,
        a: Address,
        a_row: Address,
        b: Address,
        start: Address,
        start_row: Address,
        c: Address,
        c_row: Address,
    ) -> None:
        places = [(row, half) for row in range(rows) for half in (0, 1)]
        sums = {place: code.variable(code.constant(0)) for place in places}
        with code.count(inner, _STEPS) as k:
            for step in range(_STEPS):
                for half in (0, 1):
                    code.fetch(code.at(b, (k, PANEL * SIZE), (_AHEAD + PANEL * step + LANES * half, SIZE)), near=True)
                right = [code.load(code.at(b, (k, PANEL * SIZE)), 2 * step + half) for half in (0, 1)]
                for row in range(rows):
                    left = code.spread(code.at(a, (a_row, row), (k, SIZE), (step, SIZE)))
                    for half in (0, 1):
                        total = sums[row, half]
                        total.set(code.multiply_add(left, right[half], total.get()))
        with code.either(start) as (with_start, without):
            with with_start:
                for row, half in places:
                    before = code.load(code.at(start, (start_row, row)), half)
                    code.store(before + sums[row, half].get(), code.at(c, (c_row, row)), half)
            with without:
                for row, half in places:
                    code.store(sums[row, half].get(), code.at(c, (c_row, row)), half)

    return product


_many, _few, _one = (_emit(rows) for rows in (ROWS, FEW, 1))


@compiled()
def multiply(
    rows: int, inner: int, a: int, a_row: int, panel: int, start: int, start_row: int, c: int, c_row: int
) -> None:
    """c = start + a·panel for one panel `[inner, PANEL]`: c is `[rows, PANEL]`, a `[rows, inner]`, by their addresses.

    `a_row`, `start_row` and `c_row` are the bytes from row to row. Start may be c, one row for all (0 bytes), or 0.
    """
    for first in range(0, inner, CHAIN):
        length = min(CHAIN, inner - first)
        _multiply_chain(
            rows, length, a + first * SIZE, a_row, panel + first * PANEL * SIZE,
            c if first else start, c_row if first else start_row, c, c_row,
        )  # fmt: skip


@compiled()
def _multiply_chain(
    rows: int, inner: int, a: int, a_row: int, panel: int, start: int, start_row: int, c: int, c_row: int
) -> None:
    row = 0
    while row + ROWS <= rows:
        _many(inner, a + row * a_row, a_row, panel, start + row * start_row, start_row, c + row * c_row, c_row)
        row += ROWS
    while row + FEW <= rows:
        _few(inner, a + row * a_row, a_row, panel, start + row * start_row, start_row, c + row * c_row, c_row)
        row += FEW
    while row < rows:
        _one(inner, a + row * a_row, a_row, panel, start + row * start_row, start_row, c + row * c_row, c_row)
        row += 1
