"""Repairs what deaths and losses leave behind: leases that ran out, messages that are gone, deadlines that passed.

Every worker process has a thread for it, so that it goes on while all others compute; one of them leads.
"""

import threading
import time
import uuid
from collections.abc import Iterable

import redis
import structlog

from shared.errors import ServiceError
from shared.queues import STAGES, Dispatcher, lanes_of, queue_name
from shared.records import Lane, Message, Repairs, Suspect

log = structlog.get_logger()

_ROLE = "reconciler"
_LOOK_SECONDS = 1.0
_LEAD_SECONDS = 3.0
#: A message is lost if at every look for so long it seemed to be: until then it may be on its way.
_DOUBT_SECONDS = 2.5


class Broker:
    """Tells which queues are empty."""

    def __init__(self, client: redis.Redis, *, prefix: str) -> None:
        self._redis = client
        self._prefix = prefix

    def empty(self, lanes: Iterable[Lane]) -> dict[Lane, bool]:
        """Tell for each lane whether its queue holds no message."""
        asked = list(lanes)
        with self._redis.pipeline(transaction=False) as pipe:
            for lane in asked:
                pipe.llen(f"{self._prefix}{queue_name(lane)}")
            return {lane: not length for lane, length in zip(asked, pipe.execute(), strict=True)}


class Reconciler:
    """Looks once a second, if it leads, and sends again what must be.

    A message that waits is told from a lost one by numbers: those of a lane are taken in their order, so one that
    younger ones have overtaken, or whose queue is empty, is lost, unless it is just on its way.
    """

    def __init__(self, repairs: Repairs, dispatcher: Dispatcher, broker: Broker) -> None:
        self._repairs = repairs
        self._dispatcher = dispatcher
        self._broker = broker
        self._lanes = lanes_of(STAGES)
        self._doubts: dict[Suspect, float] = {}
        self._token = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more, and let another lead."""
        self._stop.set()
        if self._thread.ident:
            self._thread.join()

    def look(self) -> list[Message]:
        """Look once, whoever leads; gives what was sent.

        Raises:
            QueueUnavailable: if Redis or the broker cannot be used; the next look does it.
        """
        messages = [*self._repairs.expired(), *self._repairs.due()]
        for job_id in self._repairs.expire():
            log.info("job expired", job_id=job_id)
        messages += self._repairs.resend(self._lost())
        for message in messages:
            log.info("piece sent again", job_id=message.job_id, piece=str(message.piece), lane=str(message.lane))
        self._dispatcher.send(messages)
        return messages

    def _lost(self) -> list[Suspect]:
        suspects = self._repairs.suspects(self._broker.empty(self._lanes))
        now = time.monotonic()
        self._doubts = {one: self._doubts.get(one, now) for one in suspects}
        return [one for one, since in self._doubts.items() if now - since >= _DOUBT_SECONDS]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self._repairs.lead(_ROLE, self._token, seconds=_LEAD_SECONDS):
                    self.look()
                else:
                    self._doubts.clear()
            except (ServiceError, redis.RedisError) as error:
                self._doubts.clear()  # an outage explains them too
                log.warning("not reconciled", reason=type(error).__name__)
            except Exception:  # the thread must live as long as the process
                log.exception("the reconciler met an unexpected error")
            self._stop.wait(_LOOK_SECONDS)
        self._resign()

    def _resign(self) -> None:
        try:
            self._repairs.resign(_ROLE, self._token)
        except ServiceError:  # the lead lapses by itself
            log.debug("lead not given back")
