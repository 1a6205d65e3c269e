"""One thread that owns the models and runs requests of one shape together."""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class _Request:
    key: Hashable
    run: Callable[[Sequence[Any]], Sequence[Any]]
    item: Any
    future: "Future[Any]" = field(default_factory=Future)


class Batcher:
    """Collects requests from many threads and runs those with equal keys in one call on one thread.

    A batch that fails is run again one by one, so that one bad item fails alone.
    """

    def __init__(self, *, max_batch_size: int = 1, max_wait_ms: float = 0.0) -> None:
        self._size = max_batch_size
        self._wait = max_wait_ms / 1000
        self._waiting: deque[_Request] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    def submit(
        self, key: Hashable, run: Callable[[Sequence[Any]], Sequence[Any]], items: Sequence[Any]
    ) -> "list[Future[Any]]":
        """Queue *items*; *run* gets a list of them (and others of equal *key*) and gives as many results."""
        requests = [_Request(key, run, item) for item in items]
        with self._wake:
            if self._closed:
                raise RuntimeError("the engine is closed")
            self._waiting.extend(requests)
            self._wake.notify()
        return [request.future for request in requests]

    def busy_seconds(self) -> float:
        """Tell for how long the batch in hand has been running; 0 if there is none."""
        since = self._busy_since
        return time.monotonic() - since if since is not None else 0.0

    def alive(self) -> bool:
        """Tell whether the model thread runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Finish what was submitted and end the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            self._busy_since = time.monotonic()
            try:
                _run(batch)
            finally:
                self._busy_since = None

    def _next_batch(self) -> list[_Request]:
        with self._wake:
            self._wake.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return []
            key = self._waiting[0].key
            self._wake.wait_for(lambda: self._closed or self._count(key) >= self._size, timeout=self._wait)
            batch = [request for request in self._waiting if request.key == key][: self._size]
            taken = {id(request) for request in batch}
            self._waiting = deque(request for request in self._waiting if id(request) not in taken)
            return batch

    def _count(self, key: Hashable) -> int:
        return sum(request.key == key for request in self._waiting)


def _run(batch: list[_Request]) -> None:
    try:
        results = batch[0].run([request.item for request in batch])
    except Exception as error:
        if len(batch) == 1:
            batch[0].future.set_exception(error)
            return
        for request in batch:
            _run([request])
        return
    for request, result in zip(batch, results, strict=True):
        request.future.set_result(result)
