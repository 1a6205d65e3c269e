"""A job's events as a client reads them: server-sent events, from where it left off until the job is over."""

import json
import time
from collections.abc import Iterator
from typing import Any

import redis

from api.jobs.schemas import Urls, dump, is_over
from api.services import Services
from api.watching.hub import PROGRESS_SECONDS, Watch
from api.watching.line import Line
from api.watching.places import Place
from api.watching.wait import LOOK_SECONDS, NOTICE_SECONDS
from shared.errors import QueueUnavailable
from shared.jobs import TERMINAL, Job, Progress, Status
from shared.records import Change, Position

#: Milliseconds after which a browser connects again.
_RETRY = 3000
_COMMENT_SECONDS = 15.0
#: Then it is to come again, with its key: that may have been revoked.
_LONGEST_SECONDS = 3600.0


def place_of(job: Job) -> Position:
    """Tell where in the stream of events a job came into its present state."""
    known = Position.parse(job.event or "")
    # A record that was rebuilt, or is of a time before, does not know; what it says is as good as a place.
    return known or Position(int((job.completed_at or job.manifest.created_at) * 1000), 0)


class JobStream:
    """The body of an answer. Its server must `close` it."""

    def __init__(self, to: Services, watch: Watch, place: Place, line: Line, urls: Urls) -> None:
        self._to = to
        self._watch = watch
        self._place = place
        self._line = line
        self._urls = urls
        self._until = time.monotonic() + _LONGEST_SECONDS
        self._told = Position(0, 0)
        self._progress: Progress | None = None
        self._progress_at = 0.0
        self._look_at = 0.0
        self._over = False
        self._pieces: Iterator[bytes] = iter(())

    def begin(self, job: Job, seen: Position | None) -> "JobStream":
        """Tell what came after the event that was *seen* last, or the present state, and then what comes."""
        self._pieces = self._tell(job, seen)
        return self

    def __iter__(self) -> "JobStream":
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Let go of the thread's place."""
        self._to.hub.close(self._watch)
        self._place.free()

    def _tell(self, job: Job, seen: Position | None) -> Iterator[bytes]:
        yield f"retry: {_RETRY}\n\n".encode()
        if seen is None:
            yield self._state(job)
        else:
            self._told = min(seen, place_of(job))
            yield from self._states(job, None)
        self._look_at, comment_at = time.monotonic() + LOOK_SECONDS, time.monotonic() + _COMMENT_SECONDS
        while not self._over and not self._line.broken() and time.monotonic() < self._until:
            rung = self._watch.wait(min(NOTICE_SECONDS, max(0.0, self._look_at - time.monotonic())))
            if rung or time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + LOOK_SECONDS
                heard = self._watch.take()
                found = self._look(job)
                if found is None:  # deleted: who connects again is told so
                    return
                job = found
                for piece in (*self._states(job, heard), *self._progress_of(job)):
                    yield piece
                    comment_at = time.monotonic() + _COMMENT_SECONDS
            if time.monotonic() >= comment_at:
                yield b": still here\n\n"
                comment_at = time.monotonic() + _COMMENT_SECONDS

    def _look(self, job: Job) -> Job | None:
        try:
            return self._to.records.get(job.manifest.id)
        except QueueUnavailable:  # the hub rings when it is back
            return job

    def _states(self, job: Job, heard: list[Change] | None) -> Iterator[bytes]:
        """Tell the states that a job came into since the last that was told, the present one last."""
        now = place_of(job)
        if now <= self._told:
            return
        if heard is None or not any(change.at == now for change in heard):
            heard = self._missed(job, now)
        for change in heard:
            if self._told < change.at < now:
                yield self._past(job, change)
        yield self._state(job)

    def _missed(self, job: Job, now: Position) -> list[Change]:
        try:
            return self._to.events.between(job.manifest.id, self._told, now) or []
        except redis.RedisError:  # the present state is told all the same
            return []

    def _past(self, job: Job, change: Change) -> bytes:
        self._told = change.at
        return _event("status", self._about(job, change.status, change.version), change.at)

    def _state(self, job: Job) -> bytes:
        self._told = place_of(job)
        self._progress, self._progress_at = job.progress, time.monotonic()
        self._over = is_over(job)
        document = {**self._about(job, job.status, job.version), "progress": job.progress.model_dump()}
        if job.status in TERMINAL:
            document["job"] = dump(job, self._urls)
        return _event("status", document, self._told)

    def _progress_of(self, job: Job) -> Iterator[bytes]:
        if self._over or job.progress == self._progress:
            return
        if time.monotonic() < self._progress_at + PROGRESS_SECONDS:
            self._look_at = self._progress_at + PROGRESS_SECONDS
            return
        self._progress, self._progress_at = job.progress, time.monotonic()
        # Without an id: who connects again begins after the last state.
        yield _event("progress", {**self._about(job, job.status, job.version), "progress": job.progress.model_dump()})

    def _about(self, job: Job, status: Status, sequence: int) -> dict[str, Any]:
        urls = self._urls.model_dump(by_alias=True)
        return {"id": job.manifest.id, "status": status, "sequence": sequence, "urls": urls}


def _event(name: str, document: dict[str, Any], at: Position | None = None) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    first = f"id: {at}\n" if at else ""
    return f"{first}event: {name}\ndata: {text}\n\n".encode()
