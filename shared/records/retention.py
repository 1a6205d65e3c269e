"""What the sweeper and `recover` ask of the records: what to tidy, what has outlived its time, what to rebuild."""

from functools import partial
from typing import cast

import redis

from shared.jobs import Ending, Manifest
from shared.records.packing import pack_ending, pack_manifest
from shared.records.script import Script

#: More than are dealt with at a look, for some of them may have to wait.
_LIMIT = 1000


class Retention:
    """The sweeper's side of the records; every command may be repeated.

    Raises:
        QueueUnavailable: from any method, if Redis cannot be reached or refuses to write.
    """

    def __init__(self, client: redis.Redis, *, prefix: str = "vfq:") -> None:
        self._redis = client
        self._script = Script(client, prefix=prefix)

    def turn(self, what: str, *, every: float) -> bool:
        """Whether it is time for a thing that is done once in so many seconds, by whomever."""
        key = f"{self._script.prefix}turn:{what}"
        return bool(self._script.call(partial(self._redis.set, key, 1, nx=True, px=max(1, round(every * 1000)))))

    def untidy(self, *, now: float) -> list[str]:
        """Jobs that are over and whose objects are to be tidied by now."""
        return self._until("tidy", now)

    def tidied(self, job_id: str, *, settle: float) -> bool:
        """Note that a job's objects were tidied; False: once more in *settle* seconds, for a worker may write still."""
        return bool(self._script.run("tidied", job_id, settle))

    def stored_until(self, moment: float) -> list[str]:
        """Jobs that have objects and ended before a moment."""
        return self._until("stored", moment)

    def swept(self, job_id: str) -> None:
        """Note that a job that is over has no objects any more."""
        self._script.run("swept", job_id)

    def ended_until(self, moment: float) -> list[str]:
        """Jobs that ended before a moment and have no objects any more."""
        return self._until("ended", moment)

    def gone_until(self, moment: float) -> list[str]:
        """Removed jobs, of before a moment, whose objects were not seen to be gone yet."""
        return self._until("gone", moment)

    def is_gone(self, job_id: str) -> bool:
        """Whether a job was removed on purpose."""
        ask = partial(self._redis.zscore, f"{self._script.prefix}gone", job_id)
        return self._script.call(ask) is not None

    def sunk(self, job_id: str) -> None:
        """Note that a removed job has no objects any more."""
        self._script.run("sunk", job_id)

    def forget_events(self, *, before: float) -> None:
        """Drop the events from before a moment."""
        stream = f"{self._script.prefix}events"
        self._script.call(partial(self._redis.xtrim, stream, minid=str(int(before * 1000)), approximate=True))

    def rebuild(self, manifest: Manifest, ending: Ending) -> bool:
        """Make the record of a job that is over anew; False if it is there."""
        models = [word for stage, label in ending.models.items() for word in (stage, label)]
        document = pack_manifest(manifest.model_dump_json(exclude_none=True))
        end = ending.document()
        return bool(
            self._script.run(
                "rebuild",
                manifest.id,
                manifest.owner,
                manifest.name or "",
                f"{manifest.created_at:.6f}",
                str(ending.status),
                "" if ending.started_at is None else f"{ending.started_at:.6f}",
                f"{ending.completed_at:.6f}",
                "" if ending.result is None else ending.result,
                "" if ending.seconds is None else f"{ending.seconds:.6f}",
                document + pack_ending(end) if end else document,
                *models,
            )
        )

    def _until(self, index: str, moment: float) -> list[str]:
        key = f"{self._script.prefix}{index}"
        find = partial(self._redis.zrangebyscore, key, "-inf", f"{moment:.6f}", start=0, num=_LIMIT)
        return cast(list[str], self._script.call(find))
