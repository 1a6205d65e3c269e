"""One attempt at a piece of a job: leave to work, what it wrote, and how it ends."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from shared.errors import QueueUnavailable, ServiceError, StorageUnavailable
from shared.formats import OutputNotPossible
from shared.jobs import JobError, Manifest, Status
from shared.keys import plan_key, work_prefix
from shared.records import SPLIT, Claim, Piece, Refusal
from worker.arrays import ArrayFormatError
from worker.audio.errors import AudioError
from worker.context import Context
from worker.models.errors import ModelError
from worker.plan import Plan

log = structlog.get_logger()

#: Errors that say what is wrong with a job in words that its sender understands.
EXPLAINED = (AudioError, ModelError, ArrayFormatError, OutputNotPossible, ServiceError)
_PLANS_KEPT = 64


class Stopped(Exception):
    """The job needs no more work."""


class TryAgain(Exception):
    """Redis or storage could not be used; the piece is to be handed out again."""


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
        """Read the plan that the split left."""
        try:
            attempt = self.ctx.records.winners(self.job_id, [SPLIT])[0]
        except KeyError:
            raise Stopped from None
        key = plan_key(self.job_id, attempt)
        plans = self.ctx.plans
        if key not in plans:
            if len(plans) >= _PLANS_KEPT:
                plans.pop(next(iter(plans)), None)
            plans[key] = Plan.model_validate_json(self.ctx.store.read(key))
        return plans[key]

    def discard(self) -> None:
        """Delete what this attempt wrote."""
        for key in self.keys:
            self.ctx.store.delete(key)


#: Does a piece's work and records it; gives the pieces to send next, or None if the attempt does not count.
Step = Callable[[Task], list[Piece] | None]


def perform(ctx: Context, step: Step, job_id: str, piece: Piece) -> None:
    """Claim a piece, do it, and send what it made ready. Running it twice changes nothing.

    Raises:
        TryAgain: if Redis or storage cannot be used; nothing is lost by handing the piece out again.
    """
    try:
        claim = ctx.records.claim(job_id, piece)
        if isinstance(claim, Refusal):
            if claim is Refusal.CANCELING:
                _end_cancel(ctx, job_id)
            return
        _attempt(Task(ctx, job_id, claim), step)
    except (QueueUnavailable, StorageUnavailable) as error:
        log.warning("piece handed back", job_id=job_id, piece=str(piece), reason=error.message)
        # Not all at once when the server comes back.
        time.sleep(random.uniform(0.5, 2.0))
        raise TryAgain from error


def _attempt(task: Task, step: Step) -> None:
    started = time.monotonic()
    words = {"job_id": task.job_id, "piece": str(task.claim.piece), "attempt": task.claim.attempt}
    try:
        handed = step(task)
    except Stopped:
        handed = None
    except (QueueUnavailable, StorageUnavailable):
        raise
    except EXPLAINED as error:
        log.info("job failed", **words, code=error.code, reason=str(error))
        _fail(task, error.code, str(error))
        return
    except Exception:
        log.exception("job failed unexpectedly", **words)
        _fail(task, "internal_error", "the worker met an unexpected error; its log tells more under this job's id")
        return
    if handed is None:
        task.discard()
        _end_cancel(task.ctx, task.job_id)
        log.info("attempt discarded", **words)
        return
    log.info("piece done", **words, seconds=round(time.monotonic() - started, 3))
    if handed:
        task.ctx.dispatcher.send(task.job_id, handed, task.plan().priority)


def _fail(task: Task, code: str, message: str) -> None:
    task.discard()
    kind = task.claim.piece.kind
    if task.ctx.records.fail(task.job_id, JobError(code=code, message=message, stage=kind)):
        task.ctx.store.delete_prefix(work_prefix(task.job_id))
    else:
        _end_cancel(task.ctx, task.job_id)


def _end_cancel(ctx: Context, job_id: str) -> None:
    if ctx.records.end_cancel(job_id):
        ctx.store.delete_prefix(work_prefix(job_id))
        log.info("job canceled", job_id=job_id)
