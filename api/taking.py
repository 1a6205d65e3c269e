"""Taking a job in under an id that may come twice: only one request at a time does it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import IO

import redis
from redis.lock import Lock

from api.errors import BeingTakenIn
from api.services import services
from shared.errors import QueueUnavailable

#: A request that is not heard of for so long counts as dead; a client may be silent for as long.
_HOLDS_SECONDS = 150.0
_RENEW_SECONDS = 15.0


def derived_id(owner: str, name: str) -> str:
    """Give what a caller's own name stands for, in 32 hexadecimal digits: others for every owner."""
    return blake2b(f"{owner}\0{name}".encode(), digest_size=16).hexdigest()


class Taking:
    """One request's right to take a job in, renewed while its body is read."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._renewed = time.monotonic()

    def watch(self, stream: IO[bytes]) -> IO[bytes]:
        """Give a stream that renews the right as it is read."""
        return _Watched(stream, self)  # type: ignore[return-value]

    def renew(self) -> None:
        """Renew the right if it is time to."""
        if time.monotonic() - self._renewed < _RENEW_SECONDS:
            return
        with suppress(redis.RedisError):  # it lapses then; the record tells a second one apart all the same
            self._lock.reacquire()
        self._renewed = time.monotonic()


@contextmanager
def taking(job_id: str) -> Iterator[Taking]:
    """Be the only request that takes this job in.

    Raises:
        BeingTakenIn: if another one is at it.
        QueueUnavailable: if Redis is down.
    """
    lock = services().taking_lock(job_id, seconds=_HOLDS_SECONDS)
    try:
        mine = lock.acquire(blocking=False)
    except redis.RedisError as error:
        raise QueueUnavailable(f"Redis cannot be used right now ({type(error).__name__})") from error
    if not mine:
        raise BeingTakenIn("This job is being taken in by another request; ask again.", headers={"Retry-After": "1"})
    try:
        yield Taking(lock)
    finally:
        with suppress(redis.RedisError):
            lock.release()


class _Watched:
    def __init__(self, stream: IO[bytes], right: Taking) -> None:
        self._stream = stream
        self._right = right

    def read(self, size: int = -1) -> bytes:
        self._right.renew()
        return self._stream.read(size)
