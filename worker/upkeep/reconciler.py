"""Repairs what deaths and losses leave behind: leases that ran out, messages that are gone, deadlines that passed.

Every worker process has a thread for it, so that it goes on while all others compute; one of them leads.
"""

import time
from collections.abc import Iterable

import redis
import structlog

from shared.queues import STAGES, Dispatcher, lanes_of, queue_name
from shared.records import Lane, Message, Repairs, Suspect
from worker.upkeep.leading import Lead, LeadingThread

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
        lead = Lead(repairs, _ROLE, seconds=_LEAD_SECONDS)
        # An outage explains doubts, too.
        self._thread = LeadingThread(lead, self.look, every=_LOOK_SECONDS, idle=self._doubts.clear)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more, and let another lead."""
        self._thread.stop(wait=True)

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
        since = {one: self._doubts.get(one, now) for one in suspects}
        self._doubts.clear()
        self._doubts.update(since)
        return [one for one, since in self._doubts.items() if now - since >= _DOUBT_SECONDS]
