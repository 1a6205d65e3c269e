"""One attempt at a piece of a job: leave to work, what it wrote, and how it ends."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from shared.errors import QueueUnavailable, ServiceError, StorageError, StorageUnavailable
from shared.formats import OutputNotPossible
from shared.jobs import TERMINAL, Job, JobError, Manifest, Status
from shared.keys import results_prefix, work_prefix
from shared.records import STITCH, Claim, Kind, LostAgain, Piece, Refusal
from worker.arrays import ArrayFormatError
from worker.audio.errors import AudioError
from worker.context import Context
from worker.lost import WorkLost
from worker.models.errors import ModelError
from worker.plan import Plan, read_plan

log = structlog.get_logger()

#: Errors that say what is wrong with a job in words that its sender understands.
EXPLAINED = (AudioError, ModelError, ArrayFormatError, OutputNotPossible, ServiceError)
_LOSES = "storage loses what workers leave for each other; do all processes use one VFQ_STORAGE_URL?"
_UNEXPECTED = "the worker met an unexpected error; its log tells more under this job's id"


class Stopped(Exception):
    """The job needs no more work."""


@dataclass
class Task:
    """An attempt at a piece.

    Attributes:
        claim: the piece and this attempt's number.
        keys: the objects that this attempt wrote; they are deleted if it does not count.
    """

    ctx: Context
    job_id: str
    claim: Claim
    keys: list[str] = field(default_factory=list)

    def own(self, key: str) -> str:
        """Remember that this attempt writes *key*."""
        self.keys.append(key)
        return key

    def check(self) -> None:
        """Stop here if the job was cancelled meanwhile; long steps call it from time to time.

        Raises:
            Stopped: if so.
        """
        if self.ctx.records.state(self.job_id) is not Status.PROCESSING:
            raise Stopped

    def manifest(self) -> Manifest:
        """Read what was asked."""
        manifest = self.ctx.records.manifest(self.job_id)
        if manifest is None:
            raise Stopped
        return manifest

    def plan(self) -> Plan:
        """Give the plan that the split left."""
        if self.claim.plan is None:
            raise Stopped
        return read_plan(self.claim.plan)

    def plan_before(self) -> Plan | None:
        """Give the plan of an earlier split, if the job is split again."""
        return read_plan(self.claim.plan) if self.claim.plan else None

    def discard(self) -> None:
        """Delete what this attempt wrote."""
        with _tidying(self.job_id):
            for key in self.keys:
                self.ctx.store.delete(key)


#: Does a piece's work and records it; gives the pieces to send next, or None if the attempt does not count.
Step = Callable[[Task], list[Piece] | None]


@dataclass(frozen=True)
class Kept:
    """A piece that was made ready and not sent, and the attempt that made it so."""

    piece: Piece
    attempt: int


def perform(ctx: Context, step: Step, job_id: str, piece: Piece, *, keep: Kind | None = None) -> Kept | None:
    """Claim a piece, do it, and send what it made ready. Running it twice changes nothing.

    Of what it made ready, one piece of the kind to *keep* is not sent but given back: the caller performs it, and
    then says to the records that all was sent. Until then this piece's message brings it back.

    Raises:
        QueueUnavailable, StorageUnavailable: perform it again, here or elsewhere; nothing is lost.
    """
    claim = ctx.records.claim(job_id, piece)
    if isinstance(claim, Claim):
        return _attempt(Task(ctx, job_id, claim), step, keep)
    if claim is Refusal.DONE:
        # The attempt that did it may not have been able to send this.
        attempt, handed = ctx.records.unsent(job_id, piece)
        manifest = ctx.records.manifest(job_id) if handed else None
        if manifest is not None:
            ctx.dispatcher.send(job_id, handed, manifest.options.priority)
            ctx.records.sent(job_id, piece, attempt)
    else:
        _wind_up(ctx, job_id)
    return None


def _attempt(task: Task, step: Step, keep: Kind | None) -> Kept | None:
    started = time.monotonic()
    piece = task.claim.piece
    words = {"job_id": task.job_id, "piece": str(piece), "attempt": task.claim.attempt}
    try:
        handed = step(task)
    except Stopped:
        handed = None
    except WorkLost as lost:
        _make_again(task, lost)
        return None
    except (QueueUnavailable, StorageUnavailable):
        raise
    except EXPLAINED as error:
        _fail(task, error.code, str(error))
        return None
    except Exception:
        log.exception("piece failed unexpectedly", **words)
        _fail(task, "internal_error", _UNEXPECTED)
        return None
    if handed is None:
        log.info("attempt discarded", **words)
        task.discard()
        _wind_up(task.ctx, task.job_id)
        return None
    log.info("piece done", **words, seconds=round(time.monotonic() - started, 3))
    kept = next((one for one in handed if one.kind == keep), None)
    others = [one for one in handed if one != kept]
    if others:
        task.ctx.dispatcher.send(task.job_id, others, task.claim.priority)
    if others and not kept:
        task.ctx.records.sent(task.job_id, piece, task.claim.attempt)
    if piece == STITCH:
        _wind_up(task.ctx, task.job_id)
    return Kept(kept, task.claim.attempt) if kept else None


def _make_again(task: Task, lost: WorkLost) -> None:
    """Have made again what this attempt needed and could not read; this piece's message comes back after it."""
    words = {"job_id": task.job_id, "piece": str(task.claim.piece), "lost": str(lost.piece)}
    try:
        handed = task.ctx.records.lost(task.job_id, task.claim, lost.piece, lost.attempt)
    except LostAgain:
        log.error("working objects are lost again and again", **words)
        _fail(task, StorageError.code, _LOSES)
        return
    log.warning("a working object is gone; it is made again", **words)
    task.discard()
    if handed is None:
        _wind_up(task.ctx, task.job_id)
    else:
        task.ctx.dispatcher.send(task.job_id, handed, task.claim.priority)


def _fail(task: Task, code: str, message: str) -> None:
    piece = task.claim.piece
    if task.ctx.records.fail(task.job_id, JobError(code=code, message=message, stage=piece.kind), piece=piece):
        log.info("job failed", job_id=task.job_id, piece=str(piece), code=code, reason=message)
    task.discard()
    _wind_up(task.ctx, task.job_id)


def _wind_up(ctx: Context, job_id: str) -> None:
    """End a job that is to stop; of one that is over, keep only the source and the result."""
    if ctx.records.end_cancel(job_id):
        log.info("job canceled", job_id=job_id)
    job = ctx.records.get(job_id)
    if job is None or job.status in TERMINAL:
        with _tidying(job_id):
            ctx.store.delete_prefix(work_prefix(job_id))
            if job is not None:
                _keep_one_result(ctx, job)


def _keep_one_result(ctx: Context, job: Job) -> None:
    for result in ctx.store.list(results_prefix(job.manifest.id)):
        if result.key != job.result_key:
            ctx.store.delete(result.key)


@contextmanager
def _tidying(job_id: str) -> Iterator[None]:
    """Objects that storage does not let go must not change how a job ends."""
    try:
        yield
    except StorageUnavailable:
        raise
    except StorageError as error:
        log.warning("objects stay in storage", job_id=job_id, reason=error.message)
