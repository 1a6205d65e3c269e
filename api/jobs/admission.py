"""Whether a job may come in: only what can be finished is accepted."""

import threading
import time
from collections.abc import Callable, Sequence

import redis

from api.errors import QueueFull, TooManyJobs
from shared.errors import QueueUnavailable, ServiceError
from shared.jobs import Priority
from shared.queues import PRIORITIES
from shared.records import JobRecords
from shared.redis_check import memory_share
from shared.settings import PREFIX, Settings
from shared.storage import ObjectStore

#: What was found holds for so long: many submit at once, and each asks.
_HOLDS_SECONDS = 1.0
_CLEARS_SECONDS = 10


class Admission:
    """Asks how Redis and storage are, and how many jobs there are, before a job is taken in."""

    def __init__(
        self, settings: Settings, records: JobRecords, store: ObjectStore, servers: Sequence[redis.Redis]
    ) -> None:
        """Watch the memory of these Redis *servers*, those of records and of messages."""
        self._most: dict[Priority, int] = {
            "interactive": settings.max_open_interactive,
            "bulk": settings.max_open_bulk,
        }
        self._records = records
        self._share = settings.max_redis_share
        self._servers = servers
        self._memory = _Held(self._check_memory)
        self._storage = _Held(store.check)

    def most(self, priority: Priority) -> int:
        """Tell how many jobs of a priority may be unfinished at once."""
        return self._most[priority]

    def check(self, priority: Priority | None = None) -> None:
        """Return if a job of this priority (None: of any) could be accepted now.

        Raises:
            TooManyJobs: if as many of its priority are not over.
            QueueFull: if Redis's memory is nearly full.
            QueueUnavailable: if Redis cannot be reached.
            StorageError: if storage cannot be used.
        """
        self.check_servers()
        asked = [priority] if priority else PRIORITIES
        if all(self._records.open_jobs(one) >= self._most[one] for one in asked):
            raise self.too_many(priority)

    def check_servers(self) -> None:
        """Return if Redis and storage can take something in.

        Raises:
            QueueFull: if Redis's memory is nearly full.
            QueueUnavailable: if Redis cannot be reached.
            StorageError: if storage cannot be used.
        """
        self._memory()
        self._storage()

    def too_many(self, priority: Priority | None) -> TooManyJobs:
        """Say that there are too many jobs."""
        which = f"{priority} jobs" if priority else "jobs"
        return TooManyJobs(
            f"Too many {which} are waiting or being worked on; send this one again when some are done.",
            headers={"Retry-After": str(_CLEARS_SECONDS)},
        )

    def too_many_own(self, most: int) -> TooManyJobs:
        """Say that a caller has too many jobs."""
        return TooManyJobs(
            f"{most} jobs of this key are waiting or being worked on, as many as it may have; "
            "send this one again when some are done.",
            headers={"Retry-After": str(_CLEARS_SECONDS)},
        )

    def _check_memory(self) -> None:
        try:
            fullest = max(map(memory_share, self._servers), default=0.0)
        except redis.RedisError as error:
            raise QueueUnavailable(
                f"Redis cannot be used right now; look at {PREFIX}REDIS_URL ({type(error).__name__})"
            ) from error
        if fullest > self._share:
            raise QueueFull(
                "The service's queue is nearly out of memory, so that it takes no jobs in; try again later.",
                headers={"Retry-After": str(_CLEARS_SECONDS)},
            )


class _Held:
    """A check whose outcome holds for a moment, a bad one too: those who ask are not to wait for it in turn."""

    def __init__(self, check: Callable[[], object]) -> None:
        self._check = check
        self._until = 0.0
        self._error: ServiceError | None = None
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            if time.monotonic() >= self._until:
                self._error = self._outcome()
                self._until = time.monotonic() + _HOLDS_SECONDS
            error = self._error
        if error is not None:
            raise error.with_traceback(None)

    def _outcome(self) -> ServiceError | None:
        try:
            self._check()
        except ServiceError as error:
            return error
        return None
