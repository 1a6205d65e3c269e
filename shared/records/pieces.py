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
class Lane:
    """Where messages wait in order: of one kind of work, at one priority.

    Attributes:
        again: for pieces that had their turn before, and go before the others.
    """

    kind: Kind
    priority: Priority
    again: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the form that ``str`` gives: ``bulk:restore``, ``bulk:restore:again``."""
        priority, kind, *again = text.split(":")
        return cls(kind, priority, bool(again))  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.priority}:{self.kind}" + (":again" if self.again else "")


@dataclass(frozen=True)
class Message:
    """What wakes a worker for a piece.

    Attributes:
        number: of the message in its lane, from 1; 0 for a piece that comes without one.
    """

    job_id: str
    piece: Piece
    lane: Lane
    number: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what the script hands out: id, piece, lane and number."""
        job_id, piece, lane, number = text.split(" ")
        return cls(job_id, Piece.parse(piece), Lane.parse(lane), int(number))


@dataclass(frozen=True)
class Claim:
    """Leave to work on a piece, for as long as its lease is renewed.

    Attributes:
        piece: what was claimed.
        attempt: this claim's number, from 1, its fence: what it reports counts while there is no later one. What it
            writes carries the number in its name.
        priority: of the job.
        plan: what the split left, if it has been done.
        mels: for `vocode`, by window, the attempt that counts of each `restore` it may read from; a window that is
            being made again is not among them.
        alone: an earlier attempt came to nothing; nothing else of the process is to be at risk while this one works.
    """

    piece: Piece
    attempt: int
    priority: Priority = "interactive"
    plan: str | None = None
    mels: Mapping[int, int] = field(default_factory=dict)
    alone: bool = False
