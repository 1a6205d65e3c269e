"""Asking a job to stop."""

from api.services import Services
from shared import log
from shared.errors import StorageError
from shared.jobs import Status
from shared.keys import work_prefix

_log = log.logger("api")


def cancel_job(to: Services, job_id: str) -> Status | None:
    """Ask a job to stop, forget what was made of it if it has, and tell its state now; None if there is no such job.

    The job that goes on with its result is there shortly before it succeeds. Its worker would cancel that too, but may
    have died just then.

    Raises:
        QueueUnavailable: if Redis is down.
    """
    state = to.records.cancel(job_id)
    if state is Status.CANCELED:
        _forget_work(to, job_id)
    manifest = to.records.manifest(job_id) if state in (Status.CANCELED, Status.CANCELING) else None
    if manifest and manifest.then:
        to.records.cancel(manifest.then[0].id)
    return state


def _forget_work(to: Services, job_id: str) -> None:
    try:
        to.store.delete_prefix(work_prefix(job_id))
    except StorageError as error:  # the job is canceled all the same; DELETE takes the rest
        _log.warning("working objects of a canceled job stay", job_id=job_id, reason=error.message)
