"""One attempt at a piece of a job: leave to work, what it wrote, and how it ends."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from shared.errors import QueueUnavailable, ServiceError, StorageError
from shared.formats import OutputNotPossible
from shared.jobs import TERMINAL, JobError, Manifest, Status
from shared.records import STITCH, AwayTooOften, Claim, Kind, LostAgain, Message, Piece
from worker.arrays import ArrayFormatError
from worker.attempts.leases import Lease
from worker.attempts.lost import WorkLost
from worker.attempts.trouble import NotYet, is_memory, is_passing
from worker.audio.errors import AudioError
from worker.context import Context
from worker.models.errors import ModelError
from worker.plan import Plan, read_plan
from worker.upkeep.tidying import tidy

log = structlog.get_logger()

#: Errors that say what is wrong with a job in words that its sender understands.
EXPLAINED = (AudioError, ModelError, ArrayFormatError, OutputNotPossible, ServiceError)
_LOSES = "storage loses what workers leave for each other; do all processes use one VFQ_STORAGE_URL?"


class Stopped(Exception):
    """The job needs no more work, or not ours."""


@dataclass
class Task:
    """An attempt at a piece.

    Attributes:
        lease: that holds while it works: the claim, its piece and its number.
        keys: the objects that this attempt wrote; they are deleted if it does not count.
        begun: when it began, by the monotonic clock.
    """

    ctx: Context
    lease: Lease
    keys: list[str] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    @property
    def job_id(self) -> str:
        """The job."""
        return self.lease.job_id

    @property
    def claim(self) -> Claim:
        """The piece and this attempt's number."""
        return self.lease.claim

    def seconds(self) -> float:
        """Tell how long this attempt has taken so far."""
        return time.monotonic() - self.begun

    def own(self, key: str) -> str:
        """Remember that this attempt writes *key*."""
        self.keys.append(key)
        return key

    def check(self) -> None:
        """Stop here if the job was cancelled or another worker has the piece; long steps call it from time to time.

        Raises:
            Stopped: if so.
        """
        if not self.lease.held or self.ctx.records.state(self.job_id) is not Status.PROCESSING:
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
        """Delete what this attempt wrote; what stays goes when the job is tidied."""
        try:
            for key in self.keys:
                self.ctx.store.delete(key)
        except StorageError as error:
            log.warning("objects of an attempt stay for now", job_id=self.job_id, reason=error.message)


#: Does a piece's work and records it; gives the messages to send, or None if the attempt does not count.
Step = Callable[[Task], list[Message] | None]


def perform(ctx: Context, step: Step, message: Message, *, owner: str = "", keep: Kind | None = None) -> Piece | None:
    """Claim a piece, do it, and send what it made ready. Running it twice changes nothing.

    Of what it made ready, one piece of the kind to *keep* is not sent but given back, for the caller to perform. If
    it never does, its message counts as lost and the reconciler sends it.

    Raises:
        QueueUnavailable: if Redis is away; the lease lapses then, and the piece is sent again.
    """
    claim = ctx.records.claim(message.job_id, message.piece, owner=owner, message=message)
    if not isinstance(claim, Claim):
        log.debug("nothing to do", job_id=message.job_id, piece=str(message.piece), why=str(claim))
        return None
    with ctx.leases.hold(message.job_id, claim) as lease, ctx.company.join(alone=claim.alone):
        task = Task(ctx, lease)
        if claim.alone and not ctx.records.begin(message.job_id, claim):
            _let_go(task)
            return None
        return _attempt(task, step, keep)


def _attempt(task: Task, step: Step, keep: Kind | None) -> Piece | None:
    try:
        handed = step(task)
    except Stopped:
        handed = None
    except WorkLost as lost:
        _make_again(task, lost)
        return None
    except QueueUnavailable:
        raise
    except Exception as error:
        _came_to_nothing(task, error)
        return None
    if handed is None:
        log.info("attempt discarded", **_words(task))
        task.discard()
        _let_go(task)
        return None
    log.info("piece done", **_words(task), seconds=round(task.seconds(), 3))
    kept = next((one for one in handed if one.piece.kind == keep), None)
    _send(task, [one for one in handed if one != kept])
    if task.claim.piece == STITCH:
        tidy(task.ctx, task.job_id)
    return kept.piece if kept else None


def _came_to_nothing(task: Task, error: Exception) -> None:
    """Say so, by kind: what passes is tried again, what is explained fails the job, all else uses an attempt up."""
    task.discard()
    if isinstance(error, NotYet):
        _wait_for_others(task, error)
    elif is_passing(error):
        seconds = task.ctx.records.put_off(task.job_id, task.claim)
        reason = error.message if isinstance(error, ServiceError) else type(error).__name__
        log.warning("piece put off", **_words(task), seconds=seconds, reason=reason)
        if seconds is None:
            _let_go(task)
    elif isinstance(error, EXPLAINED):
        _fail(task, error.code, str(error))
    else:
        log.error("piece failed unexpectedly", **_words(task), exc_info=error)
        cause = "memory ran out" if is_memory(error) else f"an unexpected {type(error).__name__}"
        _send(task, task.ctx.records.use_up(task.job_id, task.claim, f"{cause}; the worker's log tells more"))
        _let_go(task)


def _wait_for_others(task: Task, away: NotYet) -> None:
    try:
        seconds = task.ctx.records.wait_for_others(task.job_id, task.claim, most=away.most)
    except AwayTooOften:
        _fail(task, away.error.code, away.error.message)
        return
    log.warning("piece put off", **_words(task), seconds=seconds, reason=away.error.message)
    if seconds is None:
        _let_go(task)


def _make_again(task: Task, lost: WorkLost) -> None:
    """Have made again what this attempt needed and could not read; this piece's message comes back after it."""
    try:
        handed = task.ctx.records.lost(task.job_id, task.claim, lost.piece, lost.attempt)
    except LostAgain:
        log.error("working objects are lost again and again", **_words(task), lost=str(lost.piece))
        _fail(task, StorageError.code, _LOSES)
        return
    log.warning("a working object is gone; it is made again", **_words(task), lost=str(lost.piece))
    task.discard()
    if handed is None:
        _let_go(task)
    else:
        _send(task, handed)


def _fail(task: Task, code: str, message: str) -> None:
    error = JobError(code=code, message=message, stage=task.claim.piece.kind)
    if task.ctx.records.fail(task.job_id, error, task.claim):
        log.info("job failed", **_words(task), code=code, reason=message)
    task.discard()
    _let_go(task)


def _let_go(task: Task) -> None:
    """Hold up a job that is to stop no longer; of one that is over, keep only the source and the result."""
    state = task.ctx.records.abandon(task.job_id, task.claim)
    if state in TERMINAL:
        tidy(task.ctx, task.job_id)


def _send(task: Task, messages: Iterable[Message]) -> None:
    try:
        task.ctx.dispatcher.send(messages)
    except QueueUnavailable as error:
        log.warning("messages are left to the reconciler", job_id=task.job_id, reason=error.message)


def _words(task: Task) -> dict[str, object]:
    return {"job_id": task.job_id, "piece": str(task.claim.piece), "attempt": task.claim.attempt}
