"""The pieces a job falls into, as Redis and messages name them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

from shared.jobs import Priority

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
        priority: of the job.
        plan: what the split left, if it has been done.
        mels: for `vocode`, by window, the attempt that counts of each `restore` it may read from; a window that is
            being made again is not among them.
    """

    piece: Piece
    attempt: int
    priority: Priority = "interactive"
    plan: str | None = None
    mels: Mapping[int, int] = field(default_factory=dict)
