"""The script that changes records in Redis, and the connection that it runs on."""

import random
import time
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from shared.errors import QueueUnavailable
from shared.records.pieces import Message

Argument = str | float | bytes

_PARTS = ("base", "deliveries", "callers", "workers", "repairs", "retention", "batches", "run")
_SCRIPT = "\n".join(files("shared.records").joinpath("lua", f"{part}.lua").read_text() for part in _PARTS)


class Script:
    """Runs commands of the script; each is atomic, and one that is repeated because its answer was lost is harmless.

    Raises:
        QueueUnavailable: if Redis cannot be reached, or refuses to write, and there is no patience left.
    """

    def __init__(
        self, client: redis.Redis, *, prefix: str = "vfq:", patient: Callable[[], bool] = lambda: False
    ) -> None:
        """Run commands on keys under *prefix*; where Redis is away, try again for as long as one is *patient*."""
        self.redis = client
        self.prefix = prefix
        self._patient = patient
        self._script = client.register_script(_SCRIPT)

    def run(self, command: str, *args: Argument) -> Any:
        """Run a command; that of a job has the job's id as its first argument."""
        return self.call(lambda: self._script(args=[self.prefix, command, *args]))

    def call(self, action: Callable[[], Any]) -> Any:
        """Do something with the client, with the same errors and the same patience."""
        while True:
            try:
                return action()
            except redis.RedisError as error:
                if not self._patient():
                    # The URL, which may hold a password, stays out.
                    raise QueueUnavailable(
                        "Redis cannot be used right now; look at VFQ_REDIS_URL and at its memory and disk "
                        f"({type(error).__name__})"
                    ) from error
                time.sleep(random.uniform(0.3, 1.0))

    def key(self, job_id: str, part: str = "") -> str:
        """Give the key of a part of a job's record."""
        # In braces: all keys of a job lie in one slot of a cluster.
        return f"{self.prefix}job:{{{job_id}}}{part}"


def connect(url: str, *, retries: int = 8, timeout: float = 10.0) -> redis.Redis:
    """Open a client; with the default retries it outlives a restart of Redis of some ten seconds.

    Args:
        url: of the Redis.
        retries: further tries of one call, at growing distances up to 2 s.
        timeout: seconds until a try counts as failed; at most 5 of them to connect.
    """
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=timeout,
        socket_connect_timeout=min(timeout, 5.0),
        health_check_interval=25,
        retry=Retry(ExponentialBackoff(cap=2, base=0.1), retries),
    )


def messages_of(texts: Iterable[str]) -> list[Message]:
    """Read the messages that a command hands out."""
    return [Message.parse(text) for text in texts]
