"""How much there is to do and how much was done, over the whole service: read from Redis in three round trips."""

from dataclasses import dataclass, field
from typing import Any

import redis

from shared.jobs import TERMINAL, Priority
from shared.presence import Presence
from shared.queues import PRIORITIES, STAGES, lanes_of, queue_name


@dataclass(frozen=True)
class Figures:
    """
    Figures of one moment.

    Attributes:
        open_jobs: that are not over, by priority
        queued: of them, those that nobody has begun
        oldest_queued: seconds for which the oldest of those has waited; 0 if there is none
        leases: pieces that workers have in hand
        later: pieces that were put off
        messages: in Celery's queues, by stage and priority
        workers: alive, by stage
        batches: that are not over
        receivers: of webhooks, that are owed something
        overdue: seconds for which the receiver longest due has waited
        counters: what happened since Redis was new: `created`, `ended:succeeded` and the like, `claimed`, `completed`,
            `resent`, `expired`, `troubles`, `restored_seconds`
        memory, memory_limit: bytes of Redis; no limit is 0

    """

    open_jobs: dict[Priority, int]
    queued: int
    oldest_queued: float
    leases: int
    later: int
    messages: dict[tuple[str, str], int]
    workers: dict[str, int]
    batches: int
    receivers: int
    overdue: float
    counters: dict[str, float] = field(default_factory=dict)
    memory: int = 0
    memory_limit: int = 0


def read_figures(client: redis.Redis, broker: redis.Redis | None = None, *, prefix: str) -> Figures:
    """Read them; *broker* is the Redis of the queues if it is not the one with the records.

    Raises:
        redis.RedisError: if one cannot be asked.
    """
    with client.pipeline(transaction=False) as pipe:
        pipe.time()
        for priority in PRIORITIES:
            pipe.zcard(f"{prefix}open:{priority}")
        for index in ("queued", "leases", "later", "batches:open", "calls"):
            pipe.zcard(f"{prefix}{index}")
        for index in ("queued", "calls"):
            pipe.zrange(f"{prefix}{index}", 0, 0, withscores=True)
        pipe.hgetall(f"{prefix}stats")
        pipe.info("memory")
        answers: list[Any] = pipe.execute()
    (seconds, micros), *counts = answers[: 1 + len(PRIORITIES) + 5]
    oldest, due, counters, memory = answers[-4:]
    now = seconds + micros / 1e6
    queued, leases, later, batches, receivers = counts[len(PRIORITIES) :]
    return Figures(
        open_jobs=dict(zip(PRIORITIES, counts, strict=False)),
        queued=queued,
        oldest_queued=_since(oldest, now),
        leases=leases,
        later=later,
        messages=_messages(broker or client, prefix),
        workers=Presence(client, prefix=prefix).count(now),
        batches=batches,
        receivers=receivers,
        overdue=_since(due, now),
        counters={name: float(value) for name, value in counters.items()},
        memory=int(memory["used_memory"]),
        memory_limit=int(memory.get("maxmemory", 0)),
    )


#: What is counted of jobs that are over.
ENDED = {state: f"ended:{state}" for state in sorted(TERMINAL)}


def _since(first: list[tuple[str, float]], now: float) -> float:
    return max(0.0, now - first[0][1]) if first else 0.0


def _messages(broker: redis.Redis, prefix: str) -> dict[tuple[str, str], int]:
    lanes = lanes_of(STAGES)
    with broker.pipeline(transaction=False) as pipe:
        for lane in lanes:
            pipe.llen(f"{prefix}{queue_name(lane)}")
        lengths = pipe.execute()
    found: dict[tuple[str, str], int] = {}
    for lane, length in zip(lanes, lengths, strict=True):
        place = (lane.kind, lane.priority)
        found[place] = found.get(place, 0) + int(length)
    return found
