"""The stream of events: each change of a job's state, in the order in which they came about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import redis

from shared.jobs import Status

_PAGE = 1000
#: More entries than this are not looked through for the sake of one job.
MOST_SCANNED = 20_000
_POSITION = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")


@dataclass(frozen=True, order=True)
class Position:
    """A place in the stream: the id of one of its entries."""

    millis: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Read an id; None if it is none."""
        found = _POSITION.fullmatch(text)
        return cls(int(found[1]), int(found[2])) if found else None

    def __str__(self) -> str:
        return f"{self.millis}-{self.number}"


START = Position(0, 0)


@dataclass(frozen=True)
class Change:
    """
    A job has come into a state.

    Attributes:
        at: its place in the stream
        job_id: of the job
        status: the state
        version: of the record, which grows with every change

    """

    at: Position
    job_id: str
    status: Status
    version: int


class Events:
    """Reads the stream.

    Raises:
        redis.RedisError: from any method, if Redis cannot be used.
    """

    def __init__(self, client: redis.Redis, *, prefix: str = "vfq:") -> None:
        self._redis = client
        self._key = f"{prefix}events"

    def last(self) -> Position:
        """Tell where the stream ends now."""
        rows = cast(list[Any], self._redis.xrevrange(self._key, count=1))
        return next(_places(rows), START)

    def follow(self, after: Position, *, seconds: float) -> list[Change]:
        """Wait for what comes after a place; empty if nothing did in time."""
        wait = max(1, int(seconds * 1000))
        answer: Any = self._redis.xread({self._key: str(after)}, count=_PAGE, block=wait)
        if not answer:
            return []
        ((_, rows),) = answer
        return list(_changes(rows))

    def between(self, job_id: str, after: Position, to: Position) -> list[Change] | None:
        """Give the changes of one job after a place, up to another; None if the stream does not reach back so far.

        So it is also where more than `MOST_SCANNED` entries would have to be looked through.
        """
        oldest = next(_places(cast(list[Any], self._redis.xrange(self._key, count=1))), None)
        if oldest is None or after < oldest:
            return None
        found: list[Change] = []
        for _ in range(MOST_SCANNED // _PAGE):
            rows = cast(list[Any], self._redis.xrange(self._key, f"({after}", str(to), count=_PAGE))
            found += [change for change in _changes(rows) if change.job_id == job_id]
            if len(rows) < _PAGE:
                return found
            *_, after = _places(rows)
        return None


def _places(rows: Iterable[Any]) -> Iterator[Position]:
    for at, _ in rows:
        place = Position.parse(at)
        if place:
            yield place


def _changes(rows: Iterable[Any]) -> Iterator[Change]:
    for at, fields in rows:
        place = Position.parse(at)
        if place and fields:
            yield Change(place, fields["id"], Status(fields["status"]), int(fields["version"]))
