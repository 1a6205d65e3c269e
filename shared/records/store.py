"""Job records in Redis: the only place where the state of a job is read or changed."""

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Literal, cast

import redis
from redis.client import NEVER_DECODE

from shared import log
from shared.jobs import Ending, Job, JobError, JobOutput, Manifest, Priority, Status
from shared.records.efforts import Effort, read_efforts
from shared.records.packing import pack_ending, pack_manifest, unpack
from shared.records.pieces import Claim, Message, Piece
from shared.records.script import Argument, Script, messages_of
from shared.records.view import read_ending, read_job

_log = log.logger("records")

_LIST_STEP = 100
#: A power cut loses a piece's work once, a worker that ends without writing it too. More often is no accident.
_MOST_LOSSES = 3
#: Seconds until a piece that met something absent is sent again: at first, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0
#: The same where it is none of ours.
_FIRST_ABSENCE, _LONGEST_ABSENCE = 5.0, 300.0


Creation = Literal["created", "known", "full", "own_full", "over"]


class Refusal(StrEnum):
    """Why a piece could not be claimed."""

    #: Another attempt has finished it, or it waits for another piece.
    DONE = "done"
    #: Another worker is at it.
    LEASED = "leased"
    #: The job is to stop.
    CANCELING = "canceling"
    #: The job is over, or there is none.
    GONE = "gone"


class AwayTooOften(Exception):
    """What a piece needs of others was away as often as one waits for it."""


class LostAgain(Exception):
    """What workers leave for each other is lost again and again."""


@dataclass(frozen=True)
class Terms:
    """Terms on which a worker gets pieces.

    Attributes:
        lease: seconds for which a claim holds without being renewed.
        attempts: so many may come to nothing before the job fails.
    """

    lease: float = 10.0
    attempts: int = 3


class JobRecords:
    """The records of all jobs.

    Raises:
        QueueUnavailable: from any method, if Redis cannot be reached or refuses to write.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        prefix: str = "vfq:",
        terms: Terms | None = None,
        patient: Callable[[], bool] = lambda: False,
    ) -> None:
        """Keep records under *prefix*; where Redis is away, try again for as long as one is *patient*."""
        self._redis = client
        self._script = Script(client, prefix=prefix, patient=patient)
        self._terms = terms or Terms()

    # What callers do.

    def now(self) -> float:
        """Tell the time by Redis's clock, which all times in records are of."""
        seconds, micros = self._script.call(self._redis.time)
        return float(seconds + micros / 1e6)

    def create(self, manifest: Manifest, *, most: int = 0, most_own: int = 0) -> tuple[Creation, list[Message]]:
        """Record a new job as queued and give the message to send; were it not sent, the reconciler would.

        `known`: there is one of that id or name. `full`: *most* jobs of its priority are not over yet (0: however
        many). `own_full`: *most_own* jobs of its owner are not. `over`: its batch wants no more jobs.
        """
        options, batch = manifest.options, manifest.batch
        word, *messages = self._script.run(
            "create",
            manifest.id,
            manifest.owner,
            manifest.name or "",
            f"{manifest.created_at:.6f}",
            options.priority,
            ",".join(options.stages),
            f"{manifest.created_at + options.deadline_seconds:.6f}" if options.deadline_seconds else "0",
            most,
            most_own,
            pack_manifest(manifest.model_dump_json(exclude_none=True)),
            options.hook(),
            f"{batch.id} {batch.item}" if batch else "",
        )
        return word, messages_of(messages if word == "created" else [])

    def named(self, name: str) -> Job | None:
        """Read the job that was made under a name, or None if there is none."""
        job_id = self._script.call(partial(self._redis.get, f"{self._script.prefix}name:{name}"))
        return self.get(cast(str, job_id)) if job_id else None

    def empty(self) -> bool:
        """Whether there is no job at all."""
        indices = ("open:interactive", "open:bulk", "stored", "ended")
        keys = [f"{self._script.prefix}{index}" for index in indices]
        return not self._script.call(partial(self._redis.exists, *keys))

    def open_jobs(self, priority: Priority) -> int:
        """Count the jobs of a priority that are not over."""
        return int(self._script.call(lambda: self._redis.zcard(f"{self._script.prefix}open:{priority}")))

    def open_jobs_of(self, owner: str) -> int:
        """Count the jobs of an owner that are not over."""

        def ask() -> list[Any]:
            with self._redis.pipeline(transaction=False) as pipe:
                for state in (Status.QUEUED, Status.PROCESSING, Status.CANCELING):
                    pipe.zcard(f"{self._script.prefix}jobs:{owner}:{state}")
                return pipe.execute()

        return sum(map(int, self._script.call(ask)))

    def withdraw(self, job_id: str) -> bool:
        """Remove a queued job that was not accepted after all."""
        return bool(self._script.run("withdraw", job_id))

    def disown(self, job_id: str) -> None:
        """Note that what storage still holds of a job that was not accepted is to go."""
        self._script.run("disown", job_id)

    def cancel(self, job_id: str) -> Status | None:
        """Ask a job to stop and tell its state now; None if there is no such job."""
        state = self._script.run("cancel", job_id)
        return Status(state) if state else None

    def remove(self, job_id: str) -> bool:
        """Forget a job that is over."""
        return bool(self._script.run("remove", job_id))

    def get(self, job_id: str) -> Job | None:
        """Read a job, or None if there is none."""
        jobs = self.get_many([job_id])
        return jobs[0] if jobs else None

    def get_many(self, job_ids: Iterable[str]) -> list[Job]:
        """Read jobs in one round trip; those that are gone are left out."""
        ids = list(job_ids)

        def read() -> list[Any]:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.hgetall(f"{self._script.prefix}labels")
                for job_id in ids:
                    pipe.hgetall(self._script.key(job_id))
                    self._get_document(pipe, job_id)
                    pipe.zrank(f"{self._script.prefix}queued", job_id)
                return pipe.execute()

        labels, *answers = self._script.call(read)
        steps = iter(answers)
        rows = zip(ids, steps, steps, steps, strict=True)
        return [
            job
            for job_id, fields, document, rank in rows
            if fields and document and (job := _readable(job_id, fields, document, rank, labels))
        ]

    def versions(self, job_ids: Iterable[str]) -> dict[str, int]:
        """Tell the versions of jobs in one round trip; those that are gone are left out."""
        ids = list(job_ids)

        def ask() -> list[Any]:
            with self._redis.pipeline(transaction=False) as pipe:
                for job_id in ids:
                    pipe.hget(self._script.key(job_id), "version")
                return pipe.execute()

        found = self._script.call(ask) if ids else []
        return {job_id: int(version) for job_id, version in zip(ids, found, strict=True) if version is not None}

    def known(self, job_ids: Iterable[str]) -> set[str]:
        """Tell which of these jobs there are."""
        ids = list(job_ids)

        def ask() -> list[Any]:
            with self._redis.pipeline(transaction=False) as pipe:
                for job_id in ids:
                    pipe.exists(self._script.key(job_id))
                return pipe.execute()

        return {job_id for job_id, there in zip(ids, self._script.call(ask), strict=True) if there}

    def page(
        self,
        owner: str,
        *,
        status: Status | None,
        created_after: float | None,
        before: tuple[float, str] | None,
        limit: int,
    ) -> list[Job]:
        """List an owner's jobs, youngest first, that follow the position *before* (time of creation, id)."""
        if before:
            before = (_score(before[0]), before[1])
        least = f"({created_after:.6f}" if created_after is not None else "-inf"
        states = [status] if status else list(Status)
        found = [row for state in states for row in self._newest(f"{owner}:{state}", least, before, limit)]
        # A job that changes its state meanwhile may be found in both.
        youngest = sorted(set(found), reverse=True)[:limit]
        return self.get_many(job_id for _, job_id in youngest)

    def _newest(self, index: str, least: str, before: tuple[float, str] | None, limit: int) -> list[tuple[float, str]]:
        found: list[tuple[float, str]] = []
        most = f"{before[0]:.6f}" if before else "+inf"
        key = f"{self._script.prefix}jobs:{index}"
        offset = 0
        while len(found) < limit:
            page = partial(self._redis.zrevrangebyscore, key, most, least, offset, _LIST_STEP, withscores=True)
            rows = cast(list[tuple[str, float]], self._script.call(page))
            # Jobs of one microsecond lie in the order of their ids.
            found += [(score, job_id) for job_id, score in rows if before is None or (score, job_id) < before]
            if len(rows) < _LIST_STEP:
                break
            offset += _LIST_STEP
        return found[:limit]

    # What workers do.

    def claim(self, job_id: str, piece: Piece, *, owner: str = "", message: Message | None = None) -> Claim | Refusal:
        """Take a piece to work on it; the first claim of a job moves it to `processing`.

        Args:
            job_id: of the job.
            piece: of it.
            owner: who asks; one who has the piece already gets it again.
            message: what woke the worker.
        """
        lane, number = (str(message.lane), message.number) if message else ("", 0)
        terms = self._terms
        word, *answer = self._script.run("claim", job_id, str(piece), owner, terms.lease, terms.attempts, lane, number)
        if word != "attempt":
            return Refusal(word)
        attempt, priority, alone, plan, *mels = answer
        counting = dict(zip(map(int, mels[::2]), map(int, mels[1::2]), strict=True))
        return Claim(piece, int(attempt), priority, plan or None, counting, bool(int(alone)))

    def begin(self, job_id: str, claim: Claim) -> bool:
        """Say that the work at a piece that is done `alone` begins now; False if the claim does not count any more."""
        return bool(self._script.run("begin", job_id, str(claim.piece), claim.attempt))

    def renew(self, held: Iterable[tuple[str, Claim]]) -> list[bool]:
        """Prolong leases; False for a claim that does not count any more, or whose job is to stop."""
        words = [str(word) for job_id, claim in held for word in (job_id, claim.piece, claim.attempt)]
        return [bool(one) for one in self._script.run("renew", self._terms.lease, *words)] if words else []

    def complete_split(
        self,
        job_id: str,
        claim: Claim,
        *,
        pieces: int,
        reach: int,
        window: int,
        seconds: float,
        plan: str = "",
        spent: float = 0.0,
    ) -> list[Message] | None:
        """Record the plan and hand out the first pieces; None if this attempt does not count.

        Args:
            job_id: of the job.
            claim: of its split.
            pieces: number of windows.
            reach: neighbours on each side whose mel a vocoder window needs.
            window: most pieces of the job under way at once.
            seconds: duration of the recording.
            plan: what later claims are given.
            spent: seconds that the worker took.
        """
        words = (pieces, reach, window, f"{seconds:.6f}", plan, f"{spent:.6f}")
        return self._handed("split", job_id, claim.attempt, *words)

    def complete(self, job_id: str, claim: Claim, *, model: str, spent: float = 0.0) -> list[Message] | None:
        """Mark a window as done, in so many seconds, and hand out what became ready; None if it does not count."""
        piece = claim.piece
        words = (piece.kind, cast(int, piece.index), claim.attempt, model, f"{spent:.6f}")
        return self._handed("complete", job_id, *words)

    def efforts(self, job_id: str) -> list[Effort]:
        """Tell who did what of a job that is not over, and in how many seconds."""

        def read() -> tuple[dict[str, str], dict[str, str]]:
            labels = cast(dict[str, str], self._redis.hgetall(f"{self._script.prefix}labels"))
            won = self._script.key(job_id, ":won")
            return labels, dict(self._redis.hscan_iter(won, match="spent:*", count=1000))

        labels, spent = self._script.call(read)
        return read_efforts(spent, labels=labels)

    def lost(self, job_id: str, claim: Claim, piece: Piece, attempt: int | None) -> list[Message] | None:
        """Have a piece made again whose work, of this attempt, cannot be read any more; the claimed one waits for it.

        An attempt of None: the piece is not done, because it is being made again.

        Gives what is to be sent, or None if the claim does not count any more.

        Raises:
            LostAgain: if that happened to it too often.
        """
        waiter = str(claim.piece)
        answer = self._script.run("lost", job_id, waiter, claim.attempt, _MOST_LOSSES, str(piece), attempt or 0)
        if answer == ["never"]:
            raise LostAgain(str(piece))
        return None if answer is None else messages_of(answer)

    def succeed(self, job_id: str, claim: Claim, output: JobOutput) -> bool:
        """End a job with its result; False if this attempt does not count."""
        document = pack_ending(json.dumps({"output": output.model_dump(exclude_none=True)}, separators=(",", ":")))
        return bool(self._script.run("succeed", job_id, claim.attempt, document))

    def fail(self, job_id: str, error: JobError, claim: Claim) -> bool:
        """End a job with its error; False if this attempt does not count."""
        document = pack_ending(json.dumps({"error": error.model_dump(exclude_none=True)}, separators=(",", ":")))
        return bool(self._script.run("fail", job_id, document, str(claim.piece), claim.attempt))

    def put_off(self, job_id: str, claim: Claim) -> float | None:
        """Let go of a piece that met something absent; it is sent again in so many seconds, and no attempt is used up.

        None if the claim does not count any more.
        """
        dice = random.random()
        piece = str(claim.piece)
        pauses = (_FIRST_PAUSE, _LONGEST_PAUSE, dice)
        seconds = self._script.run("put_off", job_id, piece, claim.attempt, *pauses, "troubles", 0)
        return None if seconds is None else float(seconds)

    def wait_for_others(self, job_id: str, claim: Claim, *, most: int) -> float | None:
        """Put a piece off that met something absent which is none of ours, at most so many times.

        None if the claim does not count any more.

        Raises:
            AwayTooOften: if it was put off so often; the claim still holds.
        """
        pauses = (_FIRST_ABSENCE, _LONGEST_ABSENCE, random.random())
        piece = str(claim.piece)
        answer = self._script.run("put_off", job_id, piece, claim.attempt, *pauses, "absences", most)
        if answer == "enough":
            raise AwayTooOften(piece)
        return None if answer is None else float(answer)

    def hand_back(self, job_id: str, claim: Claim) -> list[Message]:
        """Let go of a piece that this worker will not finish; gives what is to be sent."""
        return messages_of(self._script.run("hand_back", job_id, str(claim.piece), claim.attempt))

    def use_up(self, job_id: str, claim: Claim, cause: str) -> list[Message]:
        """Let go of a piece whose attempt came to nothing for this cause; after too many of them the job fails.

        Gives what is to be sent.
        """
        piece, most = str(claim.piece), self._terms.attempts
        return messages_of(self._script.run("use_up", job_id, piece, claim.attempt, most, cause))

    def abandon(self, job_id: str, claim: Claim) -> Status | None:
        """Let go of a piece of a job that needs no more work; the last of one that is to stop ends it.

        Gives the state now.
        """
        state = self._script.run("abandon", job_id, str(claim.piece), claim.attempt)
        return Status(state) if state else None

    def winners(self, job_id: str, pieces: Iterable[Piece]) -> list[int]:
        """Tell which attempt of each piece counts.

        Raises:
            KeyError: with its name, if one is not done; it is being made again, or the job is over.
        """
        names = [str(piece) for piece in pieces]
        ask = partial(self._redis.hmget, self._script.key(job_id, ":won"), names)
        answers = cast(list[Any], self._script.call(ask)) if names else []
        for name, answer in zip(names, answers, strict=True):
            if answer is None:
                raise KeyError(name)
        return [int(answer) for answer in answers]

    def manifest(self, job_id: str) -> Manifest | None:
        """Read what was asked."""
        document = self._script.call(partial(self._get_document, self._redis, job_id))
        return Manifest.model_validate_json(unpack(document)[0]) if document else None

    def ending(self, job_id: str) -> Ending | None:
        """Tell how a job ended; None if it has not, or is gone."""

        def read() -> list[Any]:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.hgetall(f"{self._script.prefix}labels")
                pipe.hgetall(self._script.key(job_id))
                self._get_document(pipe, job_id)
                return pipe.execute()

        labels, fields, document = self._script.call(read)
        return read_ending(fields, unpack(document)[1], labels=labels) if fields and document else None

    def _get_document(self, client: redis.Redis, job_id: str) -> Any:
        """Ask for the packed document, which is no text."""
        command: Any = client.execute_command
        return command("GET", self._script.key(job_id, ":doc"), **{NEVER_DECODE: True})

    def state(self, job_id: str) -> Status | None:
        """Read nothing but the state."""
        state = self._script.call(partial(self._redis.hget, self._script.key(job_id), "state"))
        return Status(state) if state else None

    def ping(self) -> None:
        """Ask whether Redis answers."""
        self._script.call(self._redis.ping)

    def _handed(self, command: str, job_id: str, *args: Argument) -> list[Message] | None:
        texts = self._script.run(command, job_id, *args)
        return None if texts is None else messages_of(texts)


def _readable(
    job_id: str, fields: dict[str, str], document: bytes, rank: int | None, labels: dict[str, str]
) -> Job | None:
    """Read a record; None if it cannot be, for one of another version must not hide all others."""
    try:
        return read_job(fields, *unpack(document), rank, labels=labels)
    except (ValueError, KeyError) as error:
        _log.error("a record cannot be read", job_id=job_id, reason=f"{type(error).__name__}")
        return None


def _score(moment: float) -> float:
    """A time as a sorted set gives it back: in microseconds."""
    return float(f"{moment:.6f}")
