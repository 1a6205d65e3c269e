"""Taking something in under a name that may come twice: only one request at a time does it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b

import redis
from redis.lock import Lock

from api.errors import BeingTakenIn
from api.services import services
from shared.errors import QueueUnavailable

#: A request whose process died, or that could not tell Redis of its end, keeps others out for so long.
_HOLDS_SECONDS = 10.0
_BEAT_SECONDS = 2.5


def derived_id(owner: str, name: str) -> str:
    """Give what a caller's own name stands for, in 32 hexadecimal digits: others for every owner."""
    return blake2b(f"{owner}\0{name}".encode(), digest_size=16).hexdigest()


@contextmanager
def taking(name: str, *, wait: float = 0.0) -> Iterator[None]:
    """Be the only request that is at this, for as long as it takes; *wait* so many seconds for others.

    Raises:
        BeingTakenIn: if another one is at it.
        QueueUnavailable: if Redis is down.
    """
    lock = services().taking_lock(name, seconds=_HOLDS_SECONDS)
    try:
        mine = lock.acquire(blocking=wait > 0, blocking_timeout=wait or None)
    except redis.RedisError as error:
        raise QueueUnavailable(f"Redis cannot be used right now ({type(error).__name__})") from error
    if not mine:
        raise BeingTakenIn("This is being taken in by another request; ask again.", headers={"Retry-After": "1"})
    over = threading.Event()
    threading.Thread(target=_hold, args=[lock, over], name="taking", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        with suppress(redis.RedisError):  # it lapses by itself
            lock.release()


def _hold(lock: Lock, over: threading.Event) -> None:
    """Renew the lock until it is over, whatever the request waits for meanwhile."""
    while not over.wait(_BEAT_SECONDS):
        with suppress(redis.RedisError):  # the next beat may be heard; a name is given once all the same
            lock.reacquire()
