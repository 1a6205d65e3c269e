"""Clients of the service's HTTP door that do not give up: they send their recordings again until one is accepted."""

import http.client
import json
import queue
import threading
import time
from collections import Counter
from collections.abc import Sequence

from bench.chaos.recordings import Kind
from bench.service import CONTENT_TYPE

_TIMEOUT = 30.0
_AGAIN_SECONDS = 1.0
_SENDERS = 2
_AWAY = (OSError, http.client.HTTPException)


class Door:
    """The API, asked with a connection for each request: it may die in between."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Ask once; gives status and body.

        Raises:
            OSError, HTTPException: if the answer does not come.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT)
        try:
            connection.request(method, path, body, {"Content-Type": CONTENT_TYPE} if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def insist(self, method: str, path: str, *, tries: int = 20) -> tuple[int, bytes]:
        """Ask until there is an answer that does not say that something is away; gives the last one."""
        status, body = 0, b""
        for _ in range(tries):
            try:
                status, body = self.ask(method, path)
            except _AWAY:
                status, body = 0, b""
            if status and status < 500:
                break
            time.sleep(_AGAIN_SECONDS)
        return status, body


class Senders:
    """
    Submit jobs at an even pace, each until it is accepted.

    Attributes:
        accepted: id of each job that was answered 202, with its kind
        refused: what was answered instead, or went wrong, and how often

    """

    def __init__(self, door: Door, kinds: Sequence[Kind], *, jobs: int, seconds: float) -> None:
        self._door = door
        self._due: queue.SimpleQueue[tuple[float, Kind] | None] = queue.SimpleQueue()
        now = time.monotonic()
        for number in range(jobs):
            self._due.put((now + number * seconds / jobs, kinds[number % len(kinds)]))
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, name="sender", daemon=True) for _ in range(_SENDERS)]
        self.accepted: dict[str, Kind] = {}
        self.refused: Counter[str] = Counter()
        for thread in self._threads:
            self._due.put(None)
            thread.start()

    def join(self, seconds: float) -> bool:
        """Wait until all jobs are accepted; False if some are not by then."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        done = not any(thread.is_alive() for thread in self._threads)
        self._stop.set()
        return done

    def _run(self) -> None:
        while (due := self._due.get()) is not None:
            at, kind = due
            self._stop.wait(max(0.0, at - time.monotonic()))
            while not self._stop.is_set() and not self._submit(kind):
                self._stop.wait(_AGAIN_SECONDS)

    def _submit(self, kind: Kind) -> bool:
        try:
            status, body = self._door.ask("POST", "/v1/jobs", kind.form)
        except _AWAY as error:
            self.refused[type(error).__name__] += 1
            return False
        document = parsed(body)
        if status != 202:
            self.refused[f"{status} {document.get('code', '')}".strip()] += 1
            return False
        self.accepted[str(document["id"])] = kind
        return True


def parsed(body: bytes) -> dict[str, object]:
    """Read a JSON object; empty if it is none."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
