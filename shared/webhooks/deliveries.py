"""Deliveries in Redis: what is owed, what is due, and what became of each attempt."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, cast

import redis

from shared.records.script import Script
from shared.webhooks.events import receiver_of
from shared.webhooks.message import batch_data, body_of, job_data

State = Literal["pending", "delivered", "failed", "dropped"]
#: Target of what is owed to a job's or a batch's own hook.
HOOK = "hook"


@dataclass(frozen=True)
class Attempt:
    """
    One attempt.

    Attributes:
        at: seconds since 1970
        outcome: the HTTP status, or a word for what went wrong
        milliseconds: that it took

    """

    at: float
    outcome: str
    milliseconds: int

    def line(self) -> str:
        """Write it as the log has it."""
        return f"{self.at:.3f} {self.outcome} {self.milliseconds}"

    @classmethod
    def parse(cls, line: str) -> "Attempt":
        """Read it."""
        at, outcome, milliseconds = line.split(" ")
        return cls(float(at), outcome, int(milliseconds))


@dataclass(frozen=True)
class Delivery:
    """
    Something that is told to someone.

    Attributes:
        id: also the `webhook-id`
        owner: whose subject it is about
        subject: id of a job or a batch
        target: `hook`, or id of an endpoint
        type: of the event
        sequence: grows with each event of the subject
        status: of the subject
        receiver: host:port
        at: when it happened
        state: whether it is still to be sent
        attempts: that counted so far
        url: of a hook
        next_at: when it is sent; none if it is over
        log: the last attempts
        extra: more of the body

    """

    id: str
    owner: str
    subject: str
    target: str
    type: str
    sequence: int
    status: str
    receiver: str
    at: float
    state: State
    attempts: int = 0
    url: str | None = field(default=None, repr=False)
    next_at: float | None = None
    log: tuple[Attempt, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> str:
        """Write what is sent: the same text at each attempt."""
        tell = batch_data if self.type.startswith("batch.") else job_data
        return body_of(self.type, self.at, {**tell(self.subject, self.status, self.sequence), **self.extra})


@dataclass(frozen=True)
class Call:
    """
    A delivery that is due.

    Attributes:
        delivery: as it was when it was claimed
        claim: number under which it was
        ahead: seconds by which Redis's clock is ahead of this machine's

    """

    delivery: Delivery
    claim: int
    ahead: float = 0.0

    def now(self) -> float:
        """Tell the time by Redis's clock: a worker's may be so far off that nobody takes what it signs."""
        return time.time() + self.ahead


class Deliveries:
    """What is owed to receivers. It is owed by the script, in the step in which it happens.

    Raises:
        QueueUnavailable: from any method, if Redis cannot be reached or refuses to write.
    """

    def __init__(self, client: redis.Redis, *, prefix: str = "vfq:", keep: float = 3 * 86_400.0) -> None:
        """Use keys under *prefix*; what is over is kept for *keep* seconds."""
        self._redis = client
        self._script = Script(client, prefix=prefix)
        self._keep = keep

    def claim(self, *, most: int, room: int, lease: float, rooms: Mapping[str, int]) -> list[Call]:
        """Take what is due: at most *room* of one receiver, or what *rooms* says of it.

        After *lease* seconds without a report others take it.
        """
        told = [word for receiver, left in rooms.items() for word in (receiver, left)]
        moment, *rows = self._script.run("claim_calls", most, room, lease, *told)
        ahead = float(moment) - time.time()
        return [
            Call(_delivery(name, _pairs(fields)), int(claim), ahead)
            for name, claim, fields in zip(*(iter(rows),) * 3, strict=True)
        ]

    def report(self, call: Call, attempt: Attempt, state: State | Literal["gone"], *, again_in: float = 0.0) -> bool:
        """Note an attempt; False if the claim does not count any more.

        `pending`: there will be another one. `gone`: it failed, and a job's own hook is owed nothing more.
        """
        words = (attempt.line(), state, again_in, self._keep)
        return bool(self._script.run("report_call", call.delivery.id, call.claim, *words))

    def release(self, call: Call, *, seconds: float) -> None:
        """Let go of what could not be tried for reasons of ours; it is due again in so many seconds."""
        self._script.run("release_call", call.delivery.id, call.claim, seconds)

    def drop(self, call: Call) -> None:
        """End a delivery whose receiver is not there any more."""
        self._script.run("drop_call", call.delivery.id, self._keep)

    def get(self, delivery_id: str) -> Delivery | None:
        """Read one; None if there is none."""
        fields = self._script.call(partial(self._redis.hgetall, self._key(delivery_id)))
        return _delivery(delivery_id, fields) if fields else None

    def of(self, subject: str) -> list[Delivery]:
        """Give those of a job or a batch, in the order of what they tell."""
        index = f"{self._script.prefix}deliveries:{subject}"
        names = cast(list[str], self._script.call(partial(self._redis.zrange, index, 0, -1)))

        def read() -> list[Any]:
            with self._redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.hgetall(self._key(name))
                return pipe.execute()

        answers = self._script.call(read) if names else []
        found = [_delivery(name, fields) for name, fields in zip(names, answers, strict=True) if fields]
        return sorted(found, key=lambda one: (one.sequence, one.target))

    def redeliver(self, delivery_id: str) -> bool:
        """Send one again, now, under the same id and with all its attempts; False if there is none."""
        return bool(self._script.run("redeliver", delivery_id))

    # The endpoints, as far as the script must know them.

    def enlist(self, owner: str, endpoint: str, *, revision: int, url: str, events: Iterable[str]) -> None:
        """Owe an owner's events to an endpoint from now on; a younger revision stays."""
        self._script.run("enlist", owner, endpoint, revision, receiver_of(url), ",".join(events))

    def delist(self, owner: str, endpoint: str) -> None:
        """Owe it nothing more."""
        self._script.run("delist", owner, endpoint)

    def endpoints_known(self) -> bool:
        """Whether the endpoints were told since Redis was last empty."""
        return bool(self._script.call(partial(self._redis.exists, f"{self._script.prefix}endpoints")))

    def note_endpoints_known(self) -> None:
        """Note that all were told."""
        self._script.call(partial(self._redis.set, f"{self._script.prefix}endpoints", 1))

    def _key(self, delivery_id: str) -> str:
        return f"{self._script.prefix}delivery:{delivery_id}"


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _delivery(name: str, fields: Mapping[str, str]) -> Delivery:
    return Delivery(
        id=name,
        owner=fields["owner"],
        subject=fields["subject"],
        target=fields["target"],
        type=fields["type"],
        sequence=int(fields["sequence"]),
        status=fields["status"],
        receiver=fields["receiver"],
        at=float(fields["at"]),
        state=cast(State, fields["state"]),
        attempts=int(fields.get("attempts", 0)),
        url=fields.get("url"),
        next_at=float(fields["next"]) if "next" in fields else None,
        log=tuple(Attempt.parse(line) for line in fields.get("log", "").splitlines()),
        extra=json.loads(fields["extra"]) if "extra" in fields else {},
    )
