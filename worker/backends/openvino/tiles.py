"""Cuts a long stretch of time into tiles that overlap by a network's reach, so that memory stays small.

What a tile gives is exact but for its outermost values, which its neighbours give instead. At the data's own ends
a tile begins or ends there too, so that padding happens where the whole pass has it.
"""

from dataclasses import dataclass

Range = tuple[int, int]


@dataclass(frozen=True)
class Tile:
    """The values to keep, and those to compute them from."""

    keep: Range
    take: Range


def widen(span: Range, reach: int, length: int) -> Range:
    """The range and its reach, within 0 … length."""
    return max(span[0] - reach, 0), min(span[1] + reach, length)


def cut(keep: Range, *, length: int, reach: int, largest: int) -> list[Tile]:
    """Cut `keep`, a part of 0 … `length`, into tiles of at most `largest` values and their reach to both sides.

    All tiles take equally many values, so that a window needs one shape and not three. There is always one tile.
    """
    total = keep[1] - keep[0]
    count = max(-(-total // largest), 1)
    size = -(-total // count)
    low, high = widen(keep, reach, length)
    taken = min(size + 2 * reach, high - low)
    tiles = []
    for start in range(keep[0], keep[1], size):
        stop = min(start + size, keep[1])
        first = min(max(start - reach, low), high - taken)
        tiles.append(Tile(keep=(start, stop), take=(first, first + taken)))
    return tiles
