"""How much there is to do and how much was done, over the whole service: read from Redis in three round trips."""

from dataclasses import dataclass
from typing import Any

import redis

from shared.jobs import TERMINAL, Priority, Status
from shared.presence import Presence
from shared.queues import PRIORITIES, STAGES, lanes_of, queue_name

#: Of a piece, what is counted.
PIECES = ("claimed", "completed", "resent", "expired", "troubles")
#: How deliveries of webhooks end.
DELIVERIES = ("delivered", "failed", "dropped")
_OPEN = tuple(state for state in Status if state not in TERMINAL)
_ENDED = tuple(state for state in Status if state in TERMINAL)


@dataclass(frozen=True)
class Memory:
    """Bytes that a Redis uses and may use; no limit is 0."""

    used: int
    limit: int


@dataclass(frozen=True)
class Queues:
    """
    What waits in Celery's queues.

    Attributes:
        messages: by kind of piece and priority
        memory: of the Redis that holds them

    """

    messages: dict[tuple[str, Priority], int]
    memory: Memory


@dataclass(frozen=True)
class Figures:
    """
    What the records tell, of one moment. Counts of what happened begin with a new Redis, and only rise.

    Attributes:
        created: jobs that were taken in
        open: jobs that are not over, by priority and state
        oldest: seconds for which the oldest queued job of a priority has waited; 0 if there is none
        ended: jobs that are over, by state
        restored_seconds: length of the recordings whose jobs have succeeded
        leases: pieces that workers have in hand
        later: pieces that were put off
        pieces: what happened to pieces, by the words of `PIECES`
        workers: alive, by stage
        batches: that are not over
        owed: deliveries of webhooks that are pending
        receivers: that are owed any
        overdue: seconds for which the receiver longest due has waited
        deliveries: that are over, by the words of `DELIVERIES`
        memory: of the Redis that holds the records

    """

    created: int
    open: dict[tuple[Priority, Status], int]
    oldest: dict[Priority, float]
    ended: dict[Status, int]
    restored_seconds: float
    leases: int
    later: int
    pieces: dict[str, int]
    workers: dict[str, int]
    batches: int
    owed: int
    receivers: int
    overdue: float
    deliveries: dict[str, int]
    memory: Memory


def read_figures(client: redis.Redis, *, prefix: str) -> Figures:
    """Read what the records tell, in two round trips, however many jobs there are.

    Raises:
        redis.RedisError: if Redis cannot be asked.
    """
    places = [(priority, state) for priority in PRIORITIES for state in _OPEN]
    with client.pipeline(transaction=False) as pipe:
        pipe.time()
        pipe.hgetall(f"{prefix}stats")
        pipe.info("memory")
        pipe.zrange(f"{prefix}calls", 0, 0, withscores=True)
        for index in ("leases", "later", "batches:open", "calls"):
            pipe.zcard(f"{prefix}{index}")
        for priority in PRIORITIES:
            pipe.zrange(f"{prefix}open:{priority}:{Status.QUEUED}", 0, 0, withscores=True)
        for priority, state in places:
            pipe.zcard(f"{prefix}open:{priority}:{state}")
        answers: list[Any] = pipe.execute()
    (seconds, micros), stats, memory, due, leases, later, batches, receivers, *more = answers
    oldest, jobs = more[: len(PRIORITIES)], more[len(PRIORITIES) :]
    now = seconds + micros / 1e6
    counts = {name: int(value) for name, value in stats.items()}
    return Figures(
        created=counts.get("created", 0),
        open=dict(zip(places, jobs, strict=True)),
        oldest={priority: _since(first, now) for priority, first in zip(PRIORITIES, oldest, strict=True)},
        ended={state: counts.get(f"ended:{state}", 0) for state in _ENDED},
        restored_seconds=counts.get("restored_ms", 0) / 1000,
        leases=leases,
        later=later,
        pieces={word: counts.get(word, 0) for word in PIECES},
        workers=Presence(client, prefix=prefix).count(now),
        batches=batches,
        owed=counts.get("owed", 0),
        receivers=receivers,
        overdue=_since(due, now),
        deliveries={word: counts.get(f"calls:{word}", 0) for word in DELIVERIES},
        memory=_memory(memory),
    )


def read_queues(broker: redis.Redis, *, prefix: str) -> Queues:
    """Read how long Celery's queues are, in one round trip; *broker* is the Redis that holds them.

    Raises:
        redis.RedisError: if it cannot be asked.
    """
    lanes = lanes_of(STAGES)
    with broker.pipeline(transaction=False) as pipe:
        pipe.info("memory")
        for lane in lanes:
            pipe.llen(f"{prefix}{queue_name(lane)}")
        memory, *lengths = pipe.execute()
    messages: dict[tuple[str, Priority], int] = {}
    for lane, length in zip(lanes, lengths, strict=True):
        place = (lane.kind, lane.priority)
        messages[place] = messages.get(place, 0) + int(length)
    return Queues(messages, _memory(memory))


def _since(first: list[tuple[str, float]], now: float) -> float:
    return max(0.0, now - first[0][1]) if first else 0.0


def _memory(info: dict[str, Any]) -> Memory:
    return Memory(int(info["used_memory"]), int(info.get("maxmemory", 0)))
