"""How often a key may ask: so many requests a minute, counted in Redis for all API processes together."""

import time
from dataclasses import dataclass

import redis

from shared.errors import QueueUnavailable

WINDOW_SECONDS = 60


@dataclass(frozen=True)
class Allowance:
    """
    What a key has left of a window.

    Attributes:
        name: what is limited
        quota: requests a window
        left: of them; below 0 if there were more
        seconds: until the next window

    """

    name: str
    quota: int
    left: int
    seconds: int

    def headers(self) -> dict[str, str]:
        """Write the standard headers (draft-ietf-httpapi-ratelimit-headers)."""
        return {
            "RateLimit-Policy": f'"{self.name}";q={self.quota};w={WINDOW_SECONDS}',
            "RateLimit": f'"{self.name}";r={max(0, self.left)};t={self.seconds}',
        }


class Rates:
    """Counts requests."""

    def __init__(self, client: redis.Redis, *, prefix: str) -> None:
        self._redis = client
        self._prefix = prefix

    def take(self, owner: str, name: str, quota: int) -> Allowance:
        """Count a request.

        Raises:
            QueueUnavailable: if Redis is down.
        """
        now = time.time()
        window = int(now // WINDOW_SECONDS)
        key = f"{self._prefix}rate:{owner}:{name}:{window}"
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.incr(key)
                pipe.expire(key, 2 * WINDOW_SECONDS)
                used, _ = pipe.execute()
        except redis.RedisError as error:
            raise QueueUnavailable(f"Redis cannot be used right now ({type(error).__name__})") from error
        left = max(1, int((window + 1) * WINDOW_SECONDS - now) + 1)
        return Allowance(name, quota, quota - int(used), left)
