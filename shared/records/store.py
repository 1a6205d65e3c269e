"""Job records in Redis: the only place where the state of a job is read or changed."""

import json
from collections.abc import Iterable
from enum import StrEnum
from importlib.resources import files
from typing import Any, cast

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from shared.errors import QueueUnavailable
from shared.jobs import Job, JobError, JobOutput, Manifest, Status
from shared.records.pieces import Claim, Piece
from shared.records.view import read_job

_SCRIPT = files("shared.records").joinpath("jobs.lua").read_text()
_PARTS = ("", ":manifest", ":end", ":won", ":tries")
_LIST_STEP = 100
#: A power cut loses a piece's work once, a worker that ends without writing it too. More often is no accident.
_MOST_LOSSES = 3


class Refusal(StrEnum):
    """Why a piece could not be claimed."""

    #: Another attempt has finished it.
    DONE = "done"
    #: The job is to stop.
    CANCELING = "canceling"
    #: The job is over, or there is none.
    GONE = "gone"


class LostAgain(Exception):
    """What workers leave for each other is lost again and again."""


class JobRecords:
    """The records of all jobs.

    Raises:
        QueueUnavailable: from any method, if Redis cannot be reached or refuses to write.
    """

    def __init__(self, client: redis.Redis, *, prefix: str = "vfq:") -> None:
        self._redis = client
        self._prefix = prefix
        self._index = f"{prefix}jobs"
        self._script = client.register_script(_SCRIPT)

    # What callers do.

    def create(self, manifest: Manifest) -> bool:
        """Record a new job as queued; False if there is one of that id."""
        options = manifest.options
        stages = ",".join(options.stages)
        text = manifest.model_dump_json(exclude_none=True)
        return bool(self._run("create", manifest.id, f"{manifest.created_at:.6f}", options.priority, stages, text))

    def withdraw(self, job_id: str) -> bool:
        """Remove a queued job that could not be sent to the workers."""
        return bool(self._run("withdraw", job_id))

    def cancel(self, job_id: str) -> Status | None:
        """Ask a job to stop and tell its state now; None if there is no such job."""
        state = self._run("cancel", job_id)
        return Status(state) if state else None

    def remove(self, job_id: str) -> bool:
        """Forget a job that is over."""
        return bool(self._run("remove", job_id))

    def get(self, job_id: str) -> Job | None:
        """Read a job, or None if there is none."""
        jobs = self.get_many([job_id])
        return jobs[0] if jobs else None

    def get_many(self, job_ids: Iterable[str]) -> list[Job]:
        """Read jobs in one round trip; those that are gone are left out."""
        ids = list(job_ids)
        with _reachable(), self._redis.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hgetall(self._key(job_id))
                pipe.get(self._key(job_id, ":manifest"))
                pipe.get(self._key(job_id, ":end"))
                pipe.zrank(f"{self._index}:queued", job_id)
            answers = pipe.execute()
        rows = zip(*(iter(answers),) * 4, strict=True)
        return [read_job(*row) for row in rows if row[0] and row[1]]

    def page(
        self,
        *,
        status: Status | None,
        created_after: float | None,
        before: tuple[float, str] | None,
        limit: int,
    ) -> list[Job]:
        """List jobs, youngest first, that follow the position *before* (time of creation, id)."""
        index = f"{self._index}:{status}" if status else self._index
        if before:
            before = (_score(before[0]), before[1])
        least = f"({created_after:.6f}" if created_after is not None else "-inf"
        found: list[str] = []
        offset = 0
        while len(found) < limit:
            most = f"{before[0]:.6f}" if before else "+inf"
            with _reachable():
                page = self._redis.zrevrangebyscore(index, most, least, offset, _LIST_STEP, withscores=True)
            rows = cast(list[tuple[str, float]], page)
            # Jobs of one microsecond lie in the order of their ids.
            found += [job_id for job_id, score in rows if before is None or (score, job_id) < before]
            if len(rows) < _LIST_STEP:
                break
            offset += _LIST_STEP
        return self.get_many(found[:limit])

    # What workers do.

    def claim(self, job_id: str, piece: Piece) -> Claim | Refusal:
        """Take a piece to work on it; the first claim of a job moves it to `processing`."""
        word, *answer = self._run("claim", job_id, str(piece))
        if word != "attempt":
            return Refusal(word)
        attempt, priority, plan, *mels = answer
        counting = dict(zip(map(int, mels[::2]), map(int, mels[1::2]), strict=True))
        return Claim(piece, int(attempt), priority, plan or None, counting)

    def complete_split(
        self, job_id: str, claim: Claim, *, pieces: int, reach: int, window: int, seconds: float, plan: str = ""
    ) -> list[Piece] | None:
        """Record the plan and hand out the first pieces; None if this attempt does not count.

        Args:
            pieces: number of windows.
            reach: neighbours on each side whose mel a vocoder window needs.
            window: most pieces of the job under way at once.
            seconds: duration of the recording.
            plan: what later claims are given.
        """
        return self._handed("split", job_id, claim.attempt, pieces, reach, window, f"{seconds:.6f}", plan)

    def complete(self, job_id: str, claim: Claim, *, model: str) -> list[Piece] | None:
        """Mark a window as done and hand out what became ready; None if this attempt does not count."""
        piece = claim.piece
        return self._handed("complete", job_id, piece.kind, cast(int, piece.index), claim.attempt, model)

    def lost(self, job_id: str, claim: Claim, piece: Piece, attempt: int | None) -> list[Piece] | None:
        """Have a piece made again whose work, of this attempt, cannot be read any more; the claimed one waits for it.

        An attempt of None: the piece is not done, because it is being made again.

        Gives what is to be sent, or None if the job needs no more work.

        Raises:
            LostAgain: if that happened to it too often.
        """
        answer = self._run("lost", job_id, str(claim.piece), _MOST_LOSSES, str(piece), attempt or 0)
        if answer == ["never"]:
            raise LostAgain(str(piece))
        return None if answer is None else [Piece.parse(name) for name in answer]

    def succeed(self, job_id: str, claim: Claim, output: JobOutput) -> bool:
        """End a job with its result; False if this attempt does not count."""
        text = json.dumps({"output": output.model_dump()})
        return bool(self._run("succeed", job_id, claim.attempt, text))

    def fail(self, job_id: str, error: JobError, *, piece: Piece | None = None) -> bool:
        """End a job with its error; False if it was over or is being cancelled, or another attempt did the *piece*."""
        return bool(self._run("fail", job_id, json.dumps({"error": error.model_dump()}), str(piece or "")))

    def end_cancel(self, job_id: str) -> bool:
        """End a job that is to stop; True for the one caller that did it."""
        return bool(self._run("canceled", job_id))

    def unsent(self, job_id: str, piece: Piece) -> tuple[int, list[Piece]]:
        """Tell which attempt of a finished piece counts, and what it handed out that is not known to be sent."""
        with _reachable():
            attempt, names = self._redis.hmget(self._key(job_id, ":won"), [str(piece), f"unsent:{piece}"])
        return int(attempt or 0), [Piece.parse(name) for name in cast(str, names or "").split()]

    def sent(self, job_id: str, piece: Piece, attempt: int) -> None:
        """Note that what this attempt at a piece handed out was sent; nothing if another attempt counts by now."""
        self._run("sent", job_id, str(piece), attempt)

    def winners(self, job_id: str, pieces: Iterable[Piece]) -> list[int]:
        """Tell which attempt of each piece counts.

        Raises:
            KeyError: with its name, if one is not done; it is being made again, or the job is over.
        """
        names = [str(piece) for piece in pieces]
        with _reachable():
            answers = cast(list[Any], self._redis.hmget(self._key(job_id, ":won"), names)) if names else []
        for name, answer in zip(names, answers, strict=True):
            if answer is None:
                raise KeyError(name)
        return [int(answer) for answer in answers]

    def manifest(self, job_id: str) -> Manifest | None:
        """Read what was asked."""
        with _reachable():
            text = self._redis.get(self._key(job_id, ":manifest"))
        return Manifest.model_validate_json(cast(str, text)) if text else None

    def state(self, job_id: str) -> Status | None:
        """Read nothing but the state."""
        with _reachable():
            state = self._redis.hget(self._key(job_id), "state")
        return Status(cast(str, state)) if state else None

    def ping(self) -> None:
        """Ask whether Redis answers."""
        with _reachable():
            self._redis.ping()

    def _handed(self, command: str, job_id: str, *args: str | int) -> list[Piece] | None:
        names = self._run(command, job_id, *args)
        return None if names is None else [Piece.parse(name) for name in names]

    def _run(self, command: str, job_id: str, *args: str | int) -> Any:
        keys = [self._key(job_id, part) for part in _PARTS]
        with _reachable():
            return self._script(keys=[*keys, self._index], args=[command, job_id, *args])

    def _key(self, job_id: str, part: str = "") -> str:
        # In braces: all keys of a job lie in one slot of a cluster.
        return f"{self._prefix}job:{{{job_id}}}{part}"


def _score(moment: float) -> float:
    """A time as a sorted set gives it back: in microseconds."""
    return float(f"{moment:.6f}")


class _reachable:  # noqa: N801 - read as a word: with _reachable()
    """Turns Redis's errors into ours; the URL, which may hold a password, stays out."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, redis.RedisError):
            raise QueueUnavailable(
                "Redis cannot be used right now; look at VFQ_REDIS_URL and at its memory and disk "
                f"({type(error).__name__})"
            ) from error


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
