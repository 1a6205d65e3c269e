"""One reader of the stream of events for all that watch jobs in this process."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import redis

from shared import log
from shared.errors import QueueUnavailable
from shared.records import Change, Events, Position

#: Progress stands in records alone: those that are watched for it are looked at so often.
PROGRESS_SECONDS = 0.5
_BLOCK_SECONDS = 1.0
_PAUSE_SECONDS = 0.5
#: The reader ends when nobody has watched for so long.
_IDLE_SECONDS = 10.0
_READY_SECONDS = 2.0

_log = log.logger("api")


class Watch:
    """What one request hears of a job; for one thread."""

    def __init__(self, job_id: str, *, progress: bool) -> None:
        self.job_id = job_id
        self.progress = progress
        self._bell = threading.Event()
        self._changes: deque[Change] = deque()

    def wait(self, seconds: float) -> bool:
        """Sleep until there is reason to look at the job, or for so long; tells which."""
        if not self._bell.wait(seconds):
            return False  # a ring from now on is for the next call
        self._bell.clear()
        return True

    def take(self) -> list[Change]:
        """Give the changes of state since the last call, in their order."""
        return [self._changes.popleft() for _ in range(len(self._changes))]

    def ring(self, change: Change | None = None) -> None:
        """Wake the one who waits."""
        if change:
            self._changes.append(change)
        self._bell.set()


class Hub:
    """Wakes those that watch a job as soon as it changes, and after Redis was away: then they look for themselves.

    Its thread begins with the first who watches, so that a process may fork before.
    """

    def __init__(self, events: Events, versions: Callable[[Iterable[str]], dict[str, int]]) -> None:
        self._events = events
        self._versions = versions
        self._watches: dict[str, list[Watch]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()

    @contextmanager
    def watching(self, job_id: str) -> Iterator[Watch]:
        """Watch a job for its changes of state; to be read after this, so that none is missed in between."""
        watch = self.open(job_id)
        try:
            yield watch
        finally:
            self.close(watch)

    def open(self, job_id: str, *, progress: bool = False) -> Watch:
        """Do as `watching`, or for its *progress* too, until `close`."""
        watch = Watch(job_id, progress=progress)
        with self._lock:
            self._watches.setdefault(job_id, []).append(watch)
            if self._thread is None or not self._thread.is_alive():
                self._ready.clear()
                self._thread = threading.Thread(target=self._run, name="events", daemon=True)
                self._thread.start()
        self._ready.wait(_READY_SECONDS)  # Redis may be away: it is rung for when it is back
        return watch

    def close(self, watch: Watch) -> None:
        """End a watch."""
        with self._lock:
            here = self._watches.get(watch.job_id, [])
            if watch in here:
                here.remove(watch)
            if not here:
                self._watches.pop(watch.job_id, None)

    def _run(self) -> None:
        reader = _Reader(self._events, self._versions)
        idle_since = time.monotonic()
        while True:
            with self._lock:
                watches = {job_id: list(here) for job_id, here in self._watches.items()}
                if watches:
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since > _IDLE_SECONDS:
                    self._thread = None
                    return
            if reader.step(watches, self._watching):
                self._ready.set()

    def _watching(self, job_id: str) -> list[Watch]:
        with self._lock:
            return list(self._watches.get(job_id, ()))


class _Reader:
    """Where the thread stands in the stream."""

    def __init__(self, events: Events, versions: Callable[[Iterable[str]], dict[str, int]]) -> None:
        self._events = events
        self._versions = versions
        self._place: Position | None = None
        self._away = False
        self._seen: dict[str, int] = {}
        self._looked = 0.0

    def step(self, watches: dict[str, list[Watch]], watching: Callable[[str], list[Watch]]) -> bool:
        """Read what there is, or wait for it a moment; False while Redis is away."""
        try:
            if self._place is None:
                self._place = self._events.last()
            elif self._away:
                self._events.last()
            if self._away:
                _log.info("events are followed again")
                self._away = False
                ring(watch for here in watches.values() for watch in here)
                return True
            progress = [job_id for job_id, here in watches.items() if any(watch.progress for watch in here)]
            for change in self._events.follow(self._place, seconds=self._pause(progress)):
                self._place = change.at
                for watch in watching(change.job_id):
                    watch.ring(change)
            self._look_at(progress, watches)
        except (redis.RedisError, QueueUnavailable) as error:
            if not self._away:
                _log.warning("events cannot be followed for now", reason=type(error).__name__)
            self._away = True
            time.sleep(_PAUSE_SECONDS)
            return False
        return True

    def _pause(self, progress: list[str]) -> float:
        if not progress:
            return _BLOCK_SECONDS
        return max(0.01, self._looked + PROGRESS_SECONDS - time.monotonic())

    def _look_at(self, progress: list[str], watches: dict[str, list[Watch]]) -> None:
        if not progress or time.monotonic() - self._looked < PROGRESS_SECONDS:
            return
        found = self._versions(progress)
        self._looked = time.monotonic()
        changed = [job_id for job_id in progress if found.get(job_id) != self._seen.get(job_id)]
        self._seen = found
        ring(watch for job_id in changed for watch in watches[job_id] if watch.progress)


def ring(watches: Iterable[Watch]) -> None:
    """Have them look at their jobs."""
    for watch in watches:
        watch.ring()
