"""How long the pieces of a killed worker lie idle: from its death until each is claimed anew, or is done."""

import threading
import time
from dataclasses import dataclass
from typing import Any, cast

import redis

from shared.jobs import TERMINAL

_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Held:
    """A piece whose lease a process had when it died, and the number of its claim."""

    job_id: str
    piece: str
    number: int


@dataclass
class Death:
    """A death, what it left, and when each of that was taken up again."""

    at: float
    held: list[Held]
    seconds: float = 0.0


class RecoveryWatch:
    """
    Looks ten times a second at what the dead have left.

    Attributes:
        samples: seconds until the last piece of each death that left any was taken up again
        idle: deaths that left nothing

    """

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._redis = client
        self._prefix = prefix
        self._open: list[Death] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recovery", daemon=True)
        self._thread.start()
        self.samples: list[float] = []
        self.idle = 0

    def held_by(self, pid: int) -> list[Held]:
        """Read what a process has in hand; nothing if Redis is away."""
        try:
            names = [name.split(" ") for name in cast(list[str], self._redis.zrange(f"{self._prefix}leases", 0, -1))]
            found = []
            for job_id, piece in names:
                owner, number = cast(list[Any], self._redis.hmget(self._key(job_id, ":tries"), f"owner:{piece}", piece))
                if owner and number and owner.startswith(f"{pid}@"):
                    found.append(Held(job_id, piece, int(number)))
        except redis.RedisError:
            return []
        return found

    def died(self, held: list[Held]) -> None:
        """Begin to watch what a process left that is dead now."""
        with self._lock:
            if held:
                self._open.append(Death(time.monotonic(), held))
            else:
                self.idle += 1

    def stop(self) -> list[Held]:
        """Look no more; gives what was not taken up again."""
        self._stop.set()
        self._thread.join()
        return [held for death in self._open for held in death.held]

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            with self._lock:
                deaths = list(self._open)
            for death in deaths:
                try:
                    death.held = [held for held in death.held if not self._taken_up(held)]
                except redis.RedisError:
                    break
                if not death.held:
                    self.samples.append(time.monotonic() - death.at)
                    with self._lock:
                        self._open.remove(death)

    def _taken_up(self, held: Held) -> bool:
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hget(self._key(held.job_id), "state")
            pipe.hexists(self._key(held.job_id, ":won"), held.piece)
            pipe.hget(self._key(held.job_id, ":tries"), held.piece)
            state, done, number = pipe.execute()
        return state is None or state in TERMINAL or bool(done) or int(number or 0) > held.number

    def _key(self, job_id: str, part: str = "") -> str:
        return f"{self._prefix}job:{{{job_id}}}{part}"
