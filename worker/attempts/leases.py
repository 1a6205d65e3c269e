"""The leases of a process: what it has in hand, told to Redis again and again for as long as it works at it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from shared.errors import QueueUnavailable
from shared.records import Claim, JobRecords

log = structlog.get_logger()


@dataclass(eq=False)
class Lease:
    """One claim that this process works at.

    Attributes:
        since: when it was claimed, by the monotonic clock.
        held: cleared when Redis says that the claim does not count any more.
    """

    job_id: str
    claim: Claim
    since: float = field(default_factory=time.monotonic)
    held: bool = True


class Leases:
    """Renews what is held, in a thread of its own: one that computes would be late."""

    def __init__(self, records: JobRecords, *, every: float) -> None:
        """Renew on *records* every so many seconds; they should give up soon, for another try follows."""
        self._records = records
        self._every = every
        self._held: set[Lease] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def stop(self) -> None:
        """Renew no more."""
        self._stop.set()
        if self._thread.ident:
            self._thread.join()

    @contextmanager
    def hold(self, job_id: str, claim: Claim) -> Iterator[Lease]:
        """Keep a claim's lease while inside."""
        lease = Lease(job_id, claim)
        with self._lock:
            self._held.add(lease)
        try:
            yield lease
        finally:
            with self._lock:
                self._held.discard(lease)

    def all(self) -> list[Lease]:
        """What is in hand now."""
        with self._lock:
            return list(self._held)

    def longest(self) -> float:
        """Seconds for which the oldest piece has been in hand; 0 if there is none."""
        now = time.monotonic()
        return max((now - lease.since for lease in self.all()), default=0.0)

    def renew(self) -> None:
        """Renew all, and note which do not count any more.

        Raises:
            QueueUnavailable: if Redis cannot be asked; nothing is known then.
        """
        leases = self.all()
        answers = self._records.renew((lease.job_id, lease.claim) for lease in leases)
        for lease, held in zip(leases, answers, strict=True):
            if lease.held and not held and lease in self._held:
                lease.held = False
                log.info("lease ended", job_id=lease.job_id, piece=str(lease.claim.piece), attempt=lease.claim.attempt)

    def _run(self) -> None:
        pause = self._every
        while not self._stop.wait(pause):
            try:
                self.renew()
                pause = self._every
            except QueueUnavailable as error:
                log.warning("leases not renewed", reason=error.message)
                pause = min(self._every, 0.5)  # once Redis is back, those who still work are to be first
