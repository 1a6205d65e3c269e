"""The Celery tasks: each names a step and hands it over."""

from collections.abc import Callable

from celery import Celery
from celery.exceptions import Reject

from shared.queues import task_name
from shared.records import Kind, Piece
from worker import steps
from worker.context import Context
from worker.task import Step, TryAgain, perform

STEPS: dict[Kind, Step] = {
    "split": steps.split,
    "restore": steps.restore,
    "vocode": steps.vocode,
    "stitch": steps.stitch,
}


def register(app: Celery, context: Context) -> None:
    """Register the task of every kind of work with *app*."""
    for kind in STEPS:
        app.task(_task(context, kind), name=task_name(kind))


def _task(context: Context, kind: Kind) -> Callable[..., None]:
    def run(job_id: str, index: int | None = None) -> None:
        try:
            perform(context, STEPS[kind], job_id, Piece(kind, index))
        except TryAgain as error:
            raise Reject(error, requeue=True) from error

    return run
