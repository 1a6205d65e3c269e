"""Which workers are alive: each tells Redis every few seconds which stages it serves."""

from collections.abc import Iterable

import redis

from shared.queues import STAGES


class Presence:
    """A sorted set per stage: worker → the time until which its word holds."""

    def __init__(self, client: redis.Redis, *, prefix: str = "vfq:") -> None:
        self._redis = client
        self._prefix = prefix

    def announce(self, worker: str, stages: Iterable[str], *, ttl: float) -> None:
        """Say that a worker serves these stages for the next *ttl* seconds."""
        until = self._now() + ttl
        with self._redis.pipeline(transaction=False) as pipe:
            for stage in stages:
                pipe.zadd(self._key(stage), {worker: until})
                pipe.zremrangebyscore(self._key(stage), "-inf", until - ttl)
            pipe.execute()

    def leave(self, worker: str) -> None:
        """Take a worker's word back."""
        for stage in STAGES:
            self._redis.zrem(self._key(stage), worker)

    def count(self, now: float | None = None) -> dict[str, int]:
        """Count the live workers of each stage; *now* is Redis's time, if it was asked already."""
        now = self._now() if now is None else now
        with self._redis.pipeline(transaction=False) as pipe:
            for stage in STAGES:
                pipe.zcount(self._key(stage), now, "+inf")
            return dict(zip(STAGES, map(int, pipe.execute()), strict=True))

    def _now(self) -> float:
        seconds, micros = self._redis.time()
        return seconds + micros / 1e6

    def _key(self, stage: str) -> str:
        return f"{self._prefix}workers:{stage}"
