"""Batch records in Redis: a small hash each; the items are in storage."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Literal, TypeVar, cast

import redis
from redis.client import NEVER_DECODE

from shared.batches.model import BatchEnd, BatchManifest, BatchRecord, BatchStatus, Counts, ItemFault, Place
from shared.records.script import Script

_LIMIT = 100
#: Numbers in one call of the script, which holds up all others.
_STEP = 500
_Value = TypeVar("_Value", int, str)


class Bitmap:
    """Which items are in a set, as Redis keeps it: bit 0 is the highest of the first byte."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = bytearray(data)

    def __contains__(self, item: int) -> bool:
        byte, bit = divmod(item, 8)
        return byte < len(self._data) and bool(self._data[byte] & 0x80 >> bit)

    def add(self, item: int) -> bool:
        """Put an item in; False if it is there."""
        if item in self:
            return False
        byte, bit = divmod(item, 8)
        self._data.extend(bytes(max(0, byte + 1 - len(self._data))))
        self._data[byte] |= 0x80 >> bit
        return True


class BatchRecords:
    """The records of all batches.

    Raises:
        QueueUnavailable: from any method, if Redis cannot be reached or refuses to write.
    """

    def __init__(self, client: redis.Redis, *, prefix: str = "vfq:") -> None:
        self._redis = client
        self._script = Script(client, prefix=prefix)
        self._prefix = prefix

    # What callers do.

    def create(self, manifest: BatchManifest, *, most_open: int = 0) -> Literal["created", "known", "full"]:
        """Record a new batch; `full`: *most_open* of its owner's are not over."""
        state = BatchStatus.PROCESSING
        if manifest.open or manifest.prefix is not None:
            state = BatchStatus.OPEN if manifest.open else BatchStatus.VALIDATING
        created = f"{manifest.created_at:.6f}"
        asked = manifest.model_dump_json(exclude_defaults=True)
        words = (manifest.owner, created, str(state), manifest.total, most_open, asked, manifest.hook())
        word = self._run("create", manifest.id, *words)
        return cast(Literal["created", "known", "full"], word)

    def grow(self, batch_id: str, total: int, names: Sequence[str]) -> list[int] | str:
        """Add items, whose digested *names* are given, to an open batch of *total*.

        Gives `grown`, `not_open`, or `moved` if it has another number of items; or the positions of names that it has.
        """
        word, *twice = self._run("grow", batch_id, total, len(names), *names)
        return [int(one) for one in twice] if word == "twice" else str(word)

    def close(self, batch_id: str) -> BatchStatus | None:
        """Let no more items come; gives the state now."""
        return _status(self._run("close", batch_id))

    def cancel(self, batch_id: str) -> BatchStatus | None:
        """Ask a batch to stop; gives the state now."""
        return _status(self._run("cancel", batch_id))

    def remove(self, batch_id: str) -> bool:
        """Forget a batch that is over."""
        return bool(self._run("remove", batch_id))

    def get(self, batch_id: str) -> BatchRecord | None:
        """Read a batch, or None if there is none."""
        found = self.get_many([batch_id])
        return found[0] if found else None

    def get_many(self, batch_ids: Iterable[str]) -> list[BatchRecord]:
        """Read batches in one round trip; those that are gone are left out."""
        ids = list(batch_ids)

        def read() -> list[Any]:
            with self._redis.pipeline(transaction=False) as pipe:
                for batch_id in ids:
                    pipe.hgetall(self._key(batch_id))
                    pipe.scard(self._key(batch_id, ":jobs"))
                return pipe.execute()

        answers = iter(self._script.call(read))
        rows = zip(ids, answers, answers, strict=True)
        return [_read(batch_id, fields, jobs) for batch_id, fields, jobs in rows if fields]

    def page(self, owner: str, *, before: tuple[float, str] | None, limit: int) -> list[BatchRecord]:
        """List an owner's batches, youngest first, that follow the position *before* (time of creation, id)."""
        most = "+inf" if before is None else f"{before[0]:.6f}"
        found: list[str] = []
        offset = 0
        while len(found) < limit:
            rows = self._rows(f"batches:{owner}", most, offset)
            found += [one for one, score in rows if before is None or (score, one) < (float(most), before[1])]
            if len(rows) < _LIMIT:
                break
            offset += _LIMIT
        return self.get_many(found[:limit])

    def known(self, batch_ids: Iterable[str]) -> set[str]:
        """Tell which of these batches there are."""
        return {one.id for one in self.get_many(batch_ids)}

    def is_gone(self, batch_id: str) -> bool:
        """Whether a batch was removed on purpose."""
        ask = partial(self._redis.zscore, f"{self._prefix}batches:gone", batch_id)
        return self._script.call(ask) is not None

    def made(self, batch_id: str) -> Bitmap:
        """Tell which items were looked at and counted."""
        return self._bitmap(batch_id, ":made")

    def faulty(self, batch_id: str) -> Bitmap:
        """Tell which items came to nothing without a job."""
        return self._bitmap(batch_id, ":faulty")

    # What the leader does.

    def under_way(self) -> list[BatchRecord]:
        """Read the batches that are not over, oldest first."""
        key = f"{self._prefix}batches:open"
        return self.get_many(cast(list[str], self._script.call(partial(self._redis.zrange, key, 0, -1))))

    def listed(self, batch_id: str, total: int) -> bool:
        """Note that all items of a prefix are known."""
        return bool(self._run("listed", batch_id, total))

    def fail(self, batch_id: str, fault: ItemFault) -> bool:
        """End a batch that cannot begin."""
        return bool(self._run("fail", batch_id, fault.model_dump_json()))

    def advance(self, batch_id: str, start: int, to: Place) -> bool:
        """Note that the items from *start* have been looked at; False if another leader has."""
        return bool(self._run("advance", batch_id, start, to.item, to.segment, to.offset))

    def fault(self, batch_id: str, item: int) -> bool:
        """Count an item that came to nothing without a job; False if it is counted."""
        return bool(self._run("fault", batch_id, item))

    def adopt(self, batch_id: str, job_id: str, item: int) -> bool:
        """Count a job that was there before the batch's record; False if it is counted, or there is no such job."""
        return bool(self._run("adopt", batch_id, job_id, item))

    def jobs(self, batch_id: str) -> list[int]:
        """Give the numbers of items whose jobs are not over."""
        ask = partial(self._redis.smembers, self._key(batch_id, ":jobs"))
        return sorted(int(one) for one in cast(set[str], self._script.call(ask)))

    def ended(self, batch_id: str) -> dict[int, str]:
        """Give the items whose jobs are over and whose outcome is not in storage, and the jobs' states."""
        ask = partial(self._redis.smembers, self._key(batch_id, ":ended"))
        entries = (entry.split(" ") for entry in cast(set[str], self._script.call(ask)))
        return {int(item): state for item, state in entries}

    def collected(self, batch_id: str, ended: Mapping[int, str]) -> None:
        """Note that these outcomes are in storage."""
        for some in _steps(f"{item} {state}" for item, state in ended.items()):
            self._run("collected", batch_id, *some)

    def end(self, batch_id: str) -> bool:
        """End a batch of which nothing is left to do; what is owed for its end is noted in the same step."""
        return bool(self._run("end", batch_id))

    # What the sweeper does, and `recover`.

    def count(self, batch_id: str, state: str, items: Iterable[int]) -> None:
        """Count items whose outcome is in storage."""
        for some in _steps(items):
            self._run("count", batch_id, state, *some)

    def rebuild(self, manifest: BatchManifest, end: BatchEnd) -> bool:
        """Make the record of a batch that is over anew; False if it is there."""
        counts = end.counts
        return bool(
            self._run(
                "rebuild",
                manifest.id,
                manifest.owner,
                f"{manifest.created_at:.6f}",
                "" if end.started_at is None else f"{end.started_at:.6f}",
                f"{end.completed_at:.6f}",
                str(end.status),
                counts.total,
                end.expanded,
                counts.succeeded,
                counts.failed,
                counts.canceled,
                end.error.model_dump_json() if end.error else "",
                manifest.model_dump_json(exclude_defaults=True),
            )
        )

    def over_until(self, moment: float) -> list[str]:
        """Batches that ended before a moment."""
        return [one for one, _ in self._rows_until("batches:over", moment)]

    def gone_until(self, moment: float) -> list[str]:
        """Removed batches, of before a moment, whose objects were not seen to be gone yet."""
        return [one for one, _ in self._rows_until("batches:gone", moment)]

    def sunk(self, batch_id: str) -> None:
        """Note that a removed batch has no objects any more."""
        self._script.call(partial(self._redis.zrem, f"{self._prefix}batches:gone", batch_id))

    def _run(self, command: str, batch_id: str, *args: str | float) -> Any:
        return self._script.run(f"batch_{command}", batch_id, *args)

    def _key(self, batch_id: str, part: str = "") -> str:
        return f"{self._prefix}batch:{{{batch_id}}}{part}"

    def _bitmap(self, batch_id: str, part: str) -> Bitmap:
        command: Any = self._redis.execute_command
        ask = partial(command, "GET", self._key(batch_id, part), **{NEVER_DECODE: True})
        return Bitmap(self._script.call(ask) or b"")

    def _rows(self, index: str, most: str, offset: int) -> list[tuple[str, float]]:
        find = partial(
            self._redis.zrevrangebyscore, f"{self._prefix}{index}", most, "-inf", offset, _LIMIT, withscores=True
        )
        return cast(list[tuple[str, float]], self._script.call(find))

    def _rows_until(self, index: str, moment: float) -> list[tuple[str, float]]:
        key = f"{self._prefix}{index}"
        find = partial(self._redis.zrangebyscore, key, "-inf", f"{moment:.6f}", start=0, num=_LIMIT, withscores=True)
        return cast(list[tuple[str, float]], self._script.call(find))


def _steps(values: Iterable[_Value]) -> Iterator[list[_Value]]:
    left = iter(values)
    while some := list(islice(left, _STEP)):
        yield some


def _status(word: Any) -> BatchStatus | None:
    return BatchStatus(word) if word else None


def _read(batch_id: str, fields: Mapping[str, str], jobs: int) -> BatchRecord:
    def number(name: str) -> int:
        return int(fields.get(name, 0))

    def moment(name: str) -> float | None:
        return float(fields[name]) if name in fields else None

    ended = {name: number(name) for name in ("processing", "succeeded", "failed", "canceled")}
    queued = max(0, number("total") - sum(ended.values()))
    return BatchRecord(
        id=batch_id,
        manifest=BatchManifest.model_validate_json(fields["doc"]),
        status=BatchStatus(fields["state"]),
        version=number("version"),
        started_at=moment("started"),
        completed_at=moment("ended"),
        counts=Counts(total=number("total"), queued=queued, **ended),
        next=Place(item=number("next"), segment=number("segment"), offset=number("offset")),
        under_way=jobs,
        error=ItemFault.model_validate(json.loads(fields["error"])) if "error" in fields else None,
    )
