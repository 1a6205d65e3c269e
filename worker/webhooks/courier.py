"""The courier: a thread of every audio worker that sends what is due, each delivery in a thread of its own.

What is due lies in Redis and is claimed for some seconds, so that what a killed worker had in hand is sent by another.
"""

import threading
import time

import redis
import structlog

from shared.errors import QueueUnavailable, ServiceError
from shared.webhooks.deliveries import Attempt, Call, Deliveries, Delivery
from shared.webhooks.endpoints import Endpoints
from shared.webhooks.message import signed
from shared.webhooks.sending import Post, Sent, send
from worker.webhooks.receivers import Receivers
from worker.webhooks.schedule import next_delay
from worker.webhooks.targets import Target, Targets

log = structlog.get_logger()

_LOOK_SECONDS = 0.25
_PAUSE_SECONDS = 1.0
#: A claim outlasts the longest answer by so much.
_SLACK_SECONDS = 5.0
#: How soon what could not be tried, because storage is away, is tried again.
_AGAIN_SECONDS = 5.0
_KNOWN_SECONDS = 5.0
_GONE = 410


class Courier:
    """Sends what is owed, as long as its process lives."""

    def __init__(
        self,
        deliveries: Deliveries,
        endpoints: Endpoints,
        post: Post,
        *,
        schedule: tuple[float, ...],
        timeout: float,
        concurrency: int,
        per_host: int,
    ) -> None:
        """Send by *post*, which takes at most *timeout* seconds."""
        self._deliveries = deliveries
        self._endpoints = endpoints
        self._targets = Targets(endpoints)
        self._post = post
        self._schedule = schedule
        self._lease = timeout + _SLACK_SECONDS
        self._receivers = Receivers(most=concurrency, room=per_host)
        self._room = per_host
        self._asked = 0.0
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Claim nothing more, and give what is under way a moment; the rest is sent by others when its claim ends."""
        self._stop.set()
        self._wake.set()
        if self._thread.ident:
            self._thread.join()
            self._receivers.wait_idle(_SLACK_SECONDS)

    def look(self) -> int:
        """Claim what is due and begin to send it; gives how many.

        Raises:
            QueueUnavailable, StorageError: if Redis or storage cannot be used; the next look does it.
        """
        self._know_endpoints()
        free = self._receivers.free()
        if free <= 0:
            return 0
        calls = self._deliveries.claim(most=free, room=self._room, lease=self._lease, rooms=self._receivers.rooms())
        for call in calls:
            self._receivers.begin(call.delivery.receiver)
            threading.Thread(target=self._deliver, args=[call], name="delivery", daemon=True).start()
        return len(calls)

    def _know_endpoints(self) -> None:
        """A Redis that was lost knows no endpoints: they are read from storage then."""
        if time.monotonic() < self._asked + _KNOWN_SECONDS:
            return
        self._endpoints.ensure_known()
        self._asked = time.monotonic()

    def _deliver(self, call: Call) -> None:
        sent: Sent | None = None
        try:
            sent = self._attempt(call)
        except (ServiceError, redis.RedisError) as error:
            # The claim ends by itself then, and it is sent again: twice rather than never.
            log.warning("a delivery was put off", delivery=call.delivery.id, reason=type(error).__name__)
        except Exception:
            log.exception("the courier met an unexpected error", delivery=call.delivery.id)
        finally:
            self._receivers.end(call.delivery.receiver, answered=None if sent is None else sent.status is not None)
            self._wake.set()  # its receiver has room for the next

    def _attempt(self, call: Call) -> Sent | None:
        delivery = call.delivery
        try:
            target = self._targets.of(delivery)
        except ServiceError:
            self._deliveries.release(call, seconds=_AGAIN_SECONDS)
            raise
        if target is None:
            self._deliveries.drop(call)
            log.info("a delivery has no receiver any more", delivery=delivery.id)
            return None
        now = call.now()
        sent = send(self._post, target.url, signed(delivery.id, delivery.body(), target.secrets, now=now))
        self._note(call, target, Attempt(now, sent.outcome, sent.milliseconds), sent)
        return sent

    def _note(self, call: Call, target: Target, attempt: Attempt, sent: Sent) -> None:
        delivery = call.delivery
        if sent.ok:
            self._deliveries.report(call, attempt, "delivered")
            return
        delay = self._next(call, sent)
        log.info(
            "a delivery failed",
            delivery=delivery.id,
            type=delivery.type,
            receiver=delivery.receiver,
            outcome=sent.outcome,
            attempt=delivery.attempts + 1,
            again_in=delay and round(delay, 1),
        )
        if sent.status == _GONE:
            self._disable(delivery, target)
            self._deliveries.report(call, attempt, "gone")
        elif delay is None:
            self._deliveries.report(call, attempt, "failed")
        else:
            self._deliveries.report(call, attempt, "pending", again_in=delay)

    def _next(self, call: Call, sent: Sent) -> float | None:
        if sent.status == _GONE:
            return None
        # Progress that is late is none.
        schedule = self._schedule[:1] if call.delivery.type == "job.progress" else self._schedule
        return next_delay(schedule, call.delivery.attempts + 1, retry_after=sent.retry_after)

    def _disable(self, delivery: Delivery, target: Target) -> None:
        """An endpoint wants nothing more, ever."""
        if target.endpoint is None:
            return
        self._endpoints.disable(target.endpoint, "gone")
        self._targets.forget(delivery)
        log.warning("an endpoint was disabled: it answered 410", endpoint=target.endpoint.id)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self.look()
            except (ServiceError, redis.RedisError) as error:
                reason = "Redis" if isinstance(error, QueueUnavailable | redis.RedisError) else "storage"
                log.warning("nothing is delivered now", away=reason)
                self._stop.wait(_PAUSE_SECONDS)
            except Exception:  # the thread must live as long as the process
                log.exception("the courier met an unexpected error")
                self._stop.wait(_PAUSE_SECONDS)
            else:
                self._wake.wait(_LOOK_SECONDS)
