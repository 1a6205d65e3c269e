"""The pieces a job falls into, as Redis and messages name them."""

from dataclasses import dataclass
from typing import Literal, Self

Kind = Literal["split", "restore", "vocode", "stitch"]


@dataclass(frozen=True)
class Piece:
    """One unit of work of a job.

    Attributes:
        kind: what is to be done.
        index: which window, for `restore` and `vocode`.
    """

    kind: Kind
    index: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the form that ``str`` gives: ``split``, ``stitch``, ``restore:3``, ``vocode:3``."""
        kind, _, index = text.partition(":")
        return cls(kind, int(index) if index else None)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return self.kind if self.index is None else f"{self.kind}:{self.index}"


SPLIT = Piece("split")
STITCH = Piece("stitch")


@dataclass(frozen=True)
class Claim:
    """Leave to work on a piece.

    Attributes:
        piece: what was claimed.
        attempt: this try's number, from 1; what it writes carries it in its name.
    """

    piece: Piece
    attempt: int
