"""The threads that own the models: they run requests of one shape together."""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from worker.engine.memory import MemoryExhausted, let_go, lost_device, ran_out_of_memory
from worker.engine.places import Host, Place

log = structlog.get_logger()

Run = Callable[[Sequence[Any]], Sequence[Any]]
"""Gets items of equal keys and gives as many results."""


@dataclass(frozen=True)
class _Request:
    key: Hashable
    run: Run
    item: Any
    most: int
    future: "Future[Any]" = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class _DeviceLost(Exception):
    """Nothing more can be computed in this process."""


class Batcher:
    """Collects requests from many threads and runs those with equal keys in one call on a model thread.

    A batch that fails is run again one by one, so that one bad item fails alone; one for which memory ran out is
    halved, and no later batch of its key is as large again. A batch waits for more only while more is on its way,
    and then no longer than `max_wait_ms` after its first request.
    """

    def __init__(self, *, max_wait_ms: float = 0.0, threads: int = 1, place: Place | None = None) -> None:
        self._wait = max_wait_ms / 1000
        self._place = place or Host()
        self._waiting: deque[_Request] = deque()
        self._own: list[deque[list[_Request]]] = [deque() for _ in range(threads)]
        self._limits: dict[Hashable, int] = {}
        self._busy: dict[int, float] = {}
        self._coming = 0
        self._mine = threading.local()
        self._wake = threading.Condition()
        self._closed = False
        names = [(index, "model" if threads == 1 else f"model-{index}") for index in range(threads)]
        self._threads = [
            threading.Thread(target=self._work, args=(index,), name=name, daemon=True) for index, name in names
        ]
        for thread in self._threads:
            thread.start()

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Say that this thread will submit soon; others' batches wait a little for it."""
        with self._wake:
            self._coming += 1
        self._mine.coming = True
        try:
            yield
        finally:
            with self._wake:
                self._arrive()

    def submit(self, requests: Iterable[tuple[Hashable, Run, Any]], *, most: int = 1) -> "list[Future[Any]]":
        """Queue items, each with its key and what runs it and others of equal keys, in batches of at most so many."""
        made = [_Request(*request, most=most) for request in requests]
        with self._wake:
            if self._closed:
                raise RuntimeError("the engine is closed")
            self._waiting.extend(made)
            self._arrive()
            self._wake.notify_all()
        return [request.future for request in made]

    def run_on_every_thread(self, key: Hashable, run: Run, items: Sequence[Any]) -> None:
        """Run a batch once on each model thread, one after the other; raises what it raises."""
        for own, thread in zip(self._own, self._threads, strict=True):
            batch = [_Request(key, run, item, most=len(items)) for item in items]
            with self._wake:
                own.append(batch)
                self._wake.notify_all()
            while wait([request.future for request in batch], timeout=1.0).not_done:
                if not thread.is_alive():
                    raise RuntimeError("a model thread has ended")
            for request in batch:
                request.future.result()

    def busy_seconds(self) -> float:
        """Tell for how long the oldest batch in hand has been running; 0 if there is none."""
        begun = list(self._busy.values())
        return time.monotonic() - min(begun) if begun else 0.0

    @property
    def threads(self) -> int:
        """How many batches are computed at once."""
        return len(self._threads)

    def alive(self) -> bool:
        """Tell whether the model threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """Finish what was submitted and end the threads."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()

    def _arrive(self) -> None:
        if getattr(self._mine, "coming", False):
            self._mine.coming = False
            self._coming -= 1
            self._wake.notify_all()

    def _work(self, index: int) -> None:
        self._place.enter()
        while batch := self._next_batch(index):
            self._busy[index] = time.monotonic()
            try:
                self._run(batch)
            except _DeviceLost as error:
                # The thread ends with its batch unanswered, and the process with it: its jobs are not to fail of this.
                log.error("the device is lost and computes nothing more", reason=type(error.__cause__).__name__)
                log.debug("what was said of the lost device", exc_info=error.__cause__)
                return
            finally:
                del self._busy[index]

    def _next_batch(self, index: int) -> list[_Request]:
        own = self._own[index]
        with self._wake:
            while True:
                self._wake.wait_for(lambda: own or self._waiting or self._closed)
                if own:
                    return own.popleft()
                if not self._waiting:
                    return []
                first = self._waiting[0]
                left = first.since + self._wait - time.monotonic()
                if self._complete(first) or left <= 0:
                    return self._take(first)
                self._wake.wait(left)

    def _complete(self, first: _Request) -> bool:
        """Whether a batch has nothing to gain by waiting."""
        if self._closed or not self._coming:
            return True
        return sum(request.key == first.key for request in self._waiting) >= self._most(first)

    def _most(self, request: _Request) -> int:
        return min(request.most, self._limits.get(request.key, request.most))

    def _take(self, first: _Request) -> list[_Request]:
        batch = [request for request in self._waiting if request.key == first.key][: self._most(first)]
        taken = {id(request) for request in batch}
        self._waiting = deque(request for request in self._waiting if id(request) not in taken)
        return batch

    def _run(self, batch: list[_Request]) -> None:
        error = _attempt(batch)
        if error is None:
            return
        if lost_device(error):
            raise _DeviceLost from error
        if not ran_out_of_memory(error):
            self._run_parts(batch, 1, error)
            return
        let_go(error)
        self._place.release()
        half = len(batch) // 2
        if half:
            self._limits[batch[0].key] = min(half, self._most(batch[0]))
            log.warning("memory ran out; smaller batches from now on", batch=len(batch), smaller=half)
        self._run_parts(batch, half, MemoryExhausted())

    def _run_parts(self, batch: list[_Request], size: int, error: BaseException) -> None:
        """Run a batch again in parts of so many, or let what cannot be divided fail."""
        if len(batch) == 1:
            batch[0].future.set_exception(error)
            return
        for start in range(0, len(batch), size):
            self._run(batch[start : start + size])


def _attempt(batch: list[_Request]) -> BaseException | None:
    """Run a batch and hand out its results; gives the error if it failed."""
    try:
        results = batch[0].run([request.item for request in batch])
    except Exception as error:
        return error
    for request, result in zip(batch, results, strict=True):
        request.future.set_result(result)
    return None
