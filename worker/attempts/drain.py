"""The end of a worker: it finishes what is in hand within a limit, and hands the rest back."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from shared.errors import ServiceError
from shared.queues import Dispatcher
from shared.records import JobRecords
from worker.attempts.leases import Leases

log = structlog.get_logger()


class Drain:
    """Begins when the worker is asked to stop.

    A thread cannot be ended from outside, so with the limit the process ends; what it was at is claimed by others
    under higher numbers.
    """

    def __init__(
        self,
        leases: Leases,
        records: JobRecords,
        dispatcher: Dispatcher,
        *,
        seconds: float,
        over: threading.Event | None = None,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        """Drain within so many *seconds*; *over* is set when they have passed."""
        self._leases = leases
        self._records = records
        self._dispatcher = dispatcher
        self._seconds = seconds
        self._end = end
        self._over = over or threading.Event()

    def begin(self, **_: object) -> None:
        """Let the limit run; a receiver of Celery's signal."""
        threading.Thread(target=self._run, name="drain", daemon=True).start()

    def hand_back(self) -> int:
        """Hand back what is in hand; tells how many pieces that is."""
        held = self._leases.all()
        for lease in held:
            with suppress(ServiceError):  # its lease lapses then
                self._dispatcher.send(self._records.hand_back(lease.job_id, lease.claim))
        return len(held)

    def _run(self) -> None:
        time.sleep(self._seconds)
        self._over.set()
        log.warning("pieces handed back; the process ends", pieces=self.hand_back(), drain_seconds=self._seconds)
        self._end(0)
