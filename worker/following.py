"""The job that takes up the result of the one before: made before that one succeeds, so that it cannot be lost."""

import structlog

from shared.accepting import new_manifest, take_in
from shared.errors import QueueUnavailable
from shared.jobs import JobInput, JobOptions, JobOutput, Status
from shared.keys import result_key, source_key
from worker.task import Task

log = structlog.get_logger()


def hand_on(task: Task, output: JobOutput) -> str | None:
    """Queue the job that goes on with this attempt's result, if there is to be one; gives its id.

    Done twice it changes nothing: the job's id was chosen when the first was accepted, and results are the same.
    """
    manifest = task.manifest()
    if not manifest.then:
        return None
    ctx, (following, *rest) = task.ctx, manifest.then
    copied = ctx.store.copy(result_key(task.job_id, task.claim.attempt), source_key(following.id))
    source = JobInput(key=copied.key, filename=output.filename, bytes=copied.size)
    after = new_manifest(
        ctx.records,
        ctx.settings,
        job_id=following.id,
        owner=manifest.owner,
        source=source,
        options=_options(task, output, following.options),
        then=tuple(rest) or None,
    )
    word = take_in(ctx.store, ctx.records, ctx.dispatcher, after)
    log.info("job handed on", job_id=task.job_id, following=following.id, word=word)
    return following.id


def _options(task: Task, output: JobOutput, asked: JobOptions) -> JobOptions:
    """What is made of a mel is to be as long as the recording; the mel alone tells that to a frame."""
    if output.format != "npy" or asked.samples is not None or asked.stages != ("vocode",):
        return asked
    return asked.model_copy(update={"samples": task.plan().samples})


def take_back(task: Task, following: str | None) -> None:
    """Cancel what was queued for a job that did not succeed after all because somebody stopped it."""
    if following is None or task.ctx.records.state(task.job_id) not in {
        Status.CANCELING,
        Status.CANCELED,
        Status.EXPIRED,
    }:
        return
    try:
        task.ctx.records.cancel(following)
    except QueueUnavailable as error:
        log.warning("a job whose first was stopped goes on", job_id=following, reason=error.message)
