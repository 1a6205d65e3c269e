"""A role that one process has at a time: every worker has a thread for it, and one of them leads."""

import threading
import time
import uuid
from collections.abc import Callable

import redis
import structlog

from shared.errors import QueueUnavailable, ServiceError
from shared.records import Repairs

log = structlog.get_logger()


class LeadLost(ServiceError):
    """Another process leads now, or this one is to end."""


class Lead:
    """The lead in a role, as one process sees it."""

    def __init__(self, repairs: Repairs, role: str, *, seconds: float) -> None:
        """Lead in *role* for so many *seconds* at a time; another goes on where it was not kept."""
        self.role = role
        self.stopping = threading.Event()
        self._repairs = repairs
        self._seconds = seconds
        self._token = uuid.uuid4().hex
        self._renewed = 0.0

    def take(self) -> bool:
        """Take the lead or keep it; False if another has it.

        Raises:
            QueueUnavailable: if Redis cannot be asked.
        """
        leads = self._repairs.lead(self.role, self._token, seconds=self._seconds)
        self._renewed = time.monotonic()
        return leads

    def keep(self) -> None:
        """Keep the lead while something takes long; to be called often.

        Raises:
            LeadLost: if another has it, because something took too long: both must not go on; or if this process ends.
            QueueUnavailable: if Redis cannot be asked.
        """
        if self.stopping.is_set():
            raise LeadLost("this process ends")
        if time.monotonic() - self._renewed >= self._seconds / 10 and not self.take():
            raise LeadLost("another process leads now")

    def resign(self) -> None:
        """Give the lead back; where that is not heard it lapses by itself."""
        try:
            self._repairs.resign(self.role, self._token)
        except QueueUnavailable:
            log.debug("lead not given back", role=self.role)


class LeadingThread:
    """Looks again and again while it leads, for as long as its process lives."""

    def __init__(
        self, lead: Lead, look: Callable[[], object], *, every: float, idle: Callable[[], None] = lambda: None
    ) -> None:
        """Call *look* every so many seconds, and *idle* where another leads or a look came to nothing."""
        self._lead = lead
        self._look = look
        self._every = every
        self._idle = idle
        self._thread = threading.Thread(target=self._run, name=lead.role, daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self, *, wait: bool) -> None:
        """Look no more; a look that is under way is waited for if asked, and otherwise ends at its next step."""
        self._lead.stopping.set()
        if wait and self._thread.ident:
            self._thread.join()

    def _run(self) -> None:
        while not self._lead.stopping.is_set():
            try:
                if self._lead.take():
                    self._look()
                else:
                    self._idle()
            except LeadLost:
                self._idle()
            except (ServiceError, redis.RedisError) as error:
                self._idle()
                reason = error.message if isinstance(error, ServiceError) else type(error).__name__
                log.warning("a look came to nothing", role=self._lead.role, reason=reason)
            except Exception:  # the thread must live as long as the process
                log.exception("a look met an unexpected error", role=self._lead.role)
            self._lead.stopping.wait(self._every)
        self._lead.resign()
