"""Working objects that are not there any more, and who makes them again.

They are written without waiting for the disk, and a mel may have been kept in a process's memory alone: after a power
cut, or the end of that process, the piece that made them is done again. The job goes on.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import ObjectMissing
from shared.records import Piece
from worker.arrays import ArrayFormatError


class WorkLost(Exception):
    """What an attempt left, and its record counts on, cannot be read."""

    def __init__(self, piece: Piece, attempt: int | None) -> None:
        super().__init__(f"{piece}.{attempt}")
        #: An attempt of None: the piece is being made again already.
        self.piece, self.attempt = piece, attempt


@contextmanager
def left_by(piece: Piece, attempt: int) -> Iterator[None]:
    """Read inside what an attempt at a piece left: what is missing or cut short is lost.

    Raises:
        WorkLost: if so.
    """
    try:
        yield
    except (ObjectMissing, ArrayFormatError) as error:
        raise WorkLost(piece, attempt) from error
