"""The Celery tasks: each names a step and hands it over."""

import os
import socket
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib import import_module
from typing import cast

import structlog
from celery import Celery
from celery.worker import state

from shared.errors import QueueUnavailable
from shared.queues import task_name
from shared.records import Kind, Lane, Message, Piece
from worker.context import Context
from worker.task import Step, perform

log = structlog.get_logger()


def worker_name() -> str:
    """Name this process: its id and machine."""
    return f"{os.getpid()}@{socket.gethostname()}"


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

    def run(job_id: str, index: int | None, lane: str, number: int) -> None:
        message = Message(job_id, Piece(kind, index), Lane.parse(lane), number)
        try:
            _perform(context, steps, message)
        except QueueUnavailable as error:  # only where the process is to end: otherwise it waits for Redis
            log.warning("piece left", job_id=job_id, piece=str(message.piece), reason=error.message)

    return run


def _perform(context: Context, steps: Mapping[Kind, Step], message: Message) -> None:
    """Do a piece, and after a `restore` the `vocode` that it made ready, if this worker serves both.

    Its mel is at hand then, and half of a long recording's messages are never sent. One piece more and no other kind:
    jobs take turns still, and what would have been next in the queues is a vocode anyway.
    """
    # A delivery's own name: the same worker may get a piece twice, and must not take it from itself.
    owner = f"{worker_name()}/{uuid.uuid4().hex[:8]}"
    stopping = state.should_stop is not None
    keep: Kind | None = "vocode" if message.piece.kind == "restore" and "vocode" in steps and not stopping else None
    kept = perform(context, steps[message.piece.kind], message, owner=owner, keep=keep)
    if kept is not None:
        without = Message(message.job_id, kept, Lane(kept.kind, message.lane.priority))
        perform(context, steps[kept.kind], without, owner=owner)
