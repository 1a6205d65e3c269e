"""The Celery tasks: each names a step and hands it over, and again if Redis or storage cannot be used."""

import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib import import_module
from typing import cast

import structlog
from celery import Celery
from celery.exceptions import Reject
from celery.worker import state

from shared.errors import QueueUnavailable, ServiceError, StorageUnavailable
from shared.queues import task_name
from shared.records import Kind, Piece
from worker.context import Context
from worker.task import Step, perform

log = structlog.get_logger()


def step_of(kind: Kind) -> Step:
    """Import the step of a kind of work: those of the models bring torch along, the others do not."""
    return cast(Step, getattr(import_module(f"worker.steps.{kind}"), kind))


def register(app: Celery, context: Context, kinds: Iterable[Kind]) -> None:
    """Register the tasks of these kinds of work with *app*."""
    served = tuple(kinds)
    for kind in served:
        # Not shared: other applications of this process, if there are any, have other contexts.
        app.task(_task(context, kind, served), name=task_name(kind), shared=False)


def _task(context: Context, kind: Kind, served: Collection[Kind]) -> Callable[..., None]:
    steps = {one: step_of(one) for one in served}

    def run(job_id: str, index: int | None = None) -> None:
        piece = Piece(kind, index)
        while True:
            try:
                return _perform(context, steps, job_id, piece)
            except StorageUnavailable as error:
                _pause(job_id, piece, error)
                raise Reject(error, requeue=True) from error  # another worker may reach it
            except QueueUnavailable as error:
                _pause(job_id, piece, error)
                # A message cannot be given back to a Redis that is away: it would wait for the visibility timeout.
                if state.should_stop is not None:
                    raise Reject(error, requeue=True) from error

    return run


def _perform(context: Context, steps: Mapping[Kind, Step], job_id: str, piece: Piece) -> None:
    """Do a piece, and after a `restore` the `vocode` that it made ready, if this worker serves both.

    Its mel is at hand then, and half of a long recording's messages are never sent. One piece more and no other kind:
    jobs take turns still, and what would have been next in the queues is a vocode anyway.
    """
    stopping = state.should_stop is not None
    keep: Kind | None = "vocode" if piece.kind == "restore" and "vocode" in steps and not stopping else None
    kept = perform(context, steps[piece.kind], job_id, piece, keep=keep)
    if kept is not None:
        perform(context, steps[kept.piece.kind], job_id, kept.piece)
        context.records.sent(job_id, piece, kept.attempt)


def _pause(job_id: str, piece: Piece, error: ServiceError) -> None:
    """Wait for what is away, and not as long as others do: they are not all to come back at once."""
    log.warning("piece begins again", job_id=job_id, piece=str(piece), reason=error.message)
    time.sleep(random.uniform(0.5, 2.0))
