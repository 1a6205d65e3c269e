"""What happens beside the runs: interactive jobs that come in, Redis's memory, the lengths of the queues."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import redis

from bench.overhead import wav_of
from bench.service import Service, form_of
from shared.queues import STAGES, queues_of
from shared.settings import load_settings

_PAUSE_SECONDS = 2.0
_LOOK_SECONDS = 0.1


@dataclass
class Seen:
    """
    What was seen.

    Attributes:
        waits: seconds until a worker began each interactive job
        memory: largest use of Redis, in bytes
        queue: most messages in all queues together
        memory_before: use of Redis before anything came in

    """

    waits: list[float] = field(default_factory=list)
    memory: int = 0
    queue: int = 0
    memory_before: int = 0


class Watch:
    """Looks on, and submits an interactive job every two seconds, until it is stopped."""

    def __init__(self, running: Service, client: Any) -> None:
        self.seen = Seen(memory_before=_memory(client))
        self._running = running
        self._client = client
        self._over = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._guarded, args=(work,)) for work in (self._submit, self._look)]

    def __enter__(self) -> "Watch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _guarded(self, work: Any) -> None:
        try:
            work()
        except BaseException as error:
            self._errors.append(error)

    def _submit(self) -> None:
        form = form_of(wav_of(3.0))
        with self._running.door() as door:
            while not self._over.wait(_PAUSE_SECONDS):
                job = door.wait(str(door.submit(form)["id"]), every=0.05)
                self.seen.waits.append(float(job["metrics"]["queue_seconds"]))

    def _look(self) -> None:
        queues = [load_settings().key_prefix + queue for queue in queues_of(STAGES)]
        while not self._over.is_set():
            self.seen.memory = max(self.seen.memory, _memory(self._client))
            with self._client.pipeline(transaction=False) as pipe:
                for queue in queues:
                    pipe.llen(queue)
                self.seen.queue = max(self.seen.queue, sum(pipe.execute()))
            time.sleep(_LOOK_SECONDS)


def _memory(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])
