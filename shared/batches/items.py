"""The items of a batch in storage: lines of JSON in segments, read from any place on."""

from collections.abc import Iterator
from itertools import pairwise

from shared.batches.keys import items_key, items_prefix
from shared.batches.model import Item, Place
from shared.storage import ObjectStore

_PIECE = 128 * 1024


def read_items(store: ObjectStore, batch_id: str, place: Place | None = None) -> Iterator[tuple[Place, Item, Place]]:
    """Give the items from a place on: where each stands, itself, and where the next one stands.

    Raises:
        StorageError: if storage cannot be used.
    """
    at = place or Place()
    for segment, following in _segments(store, batch_id, at.segment):
        offset = at.offset if segment == at.segment else 0
        for line in lines_of(store.stream(items_key(batch_id, segment), offset, chunk=_PIECE)):
            offset += len(line)
            here, at = at, Place(item=at.item + 1, segment=segment, offset=offset)
            yield here, Item.model_validate_json(line), at
        if following is not None:
            at = Place(item=at.item, segment=following, offset=0)


def _segments(store: ObjectStore, batch_id: str, first: int) -> Iterator[tuple[int, int | None]]:
    """Give the segments from one on, each with the one that follows it."""
    before = items_key(batch_id, first - 1) if first else None
    keys = (info.key for info in store.list(items_prefix(batch_id), after=before))
    numbers: Iterator[int | None] = (int(key.rpartition("/")[2].partition(".")[0]) for key in keys)
    yield from pairwise(_and_none(numbers))


def _and_none(numbers: Iterator[int | None]) -> Iterator[int | None]:
    yield from numbers
    yield None


def lines_of(pieces: Iterator[bytes], *, longest: int | None = None) -> Iterator[bytes]:
    """Cut a stream of bytes into lines, each with its end; the last may have none.

    Raises:
        LineTooLong: if one has more than *longest* bytes.
    """
    left = b""
    number = 0
    for piece in pieces:
        *whole, left = (left + piece).split(b"\n")
        for line in whole:
            number += 1
            if longest is not None and len(line) > longest:
                raise LineTooLong(number)
            yield line + b"\n"
        if longest is not None and len(left) > longest:
            raise LineTooLong(number + 1)
    if left:
        yield left


class LineTooLong(Exception):
    """A line has more bytes than any item needs; its number, from 1, is the argument."""

    @property
    def number(self) -> int:
        """Which line."""
        return int(self.args[0])
