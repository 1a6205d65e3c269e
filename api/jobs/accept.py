"""Taking a job in: manifest, record, message, in this order, and back again if one of the first two fails."""

from contextlib import suppress
from dataclasses import dataclass

from api.services import Services
from shared import log
from shared.accepting import new_manifest, take_in
from shared.errors import QueueUnavailable, StorageError
from shared.jobs import Following, Job, JobInput, JobOptions, Manifest, Progress, Status
from shared.keys import job_prefix, manifest_key

_log = log.logger("api")


@dataclass(frozen=True)
class Ticket:
    """
    What a job to be taken in is called, and whose it is.

    Attributes:
        job_id: 32 hexadecimal digits
        owner: see `api.caller`
        client_id: the caller's own name of it
        name: made once: what `derived_id` gives
        retry_of: the job that it does again
        request: fingerprint of its request, if it came with an Idempotency-Key
        max_open: jobs of the owner that may be unfinished at once; 0 for however many
        then: jobs that go on with its result

    """

    job_id: str
    owner: str
    client_id: str | None = None
    name: str | None = None
    retry_of: str | None = None
    request: str | None = None
    max_open: int = 0
    then: tuple[Following, ...] | None = None


def accept(to: Services, ticket: Ticket, source: JobInput, options: JobOptions) -> Job:
    """Queue a job whose recording is in storage; of a name that there is already, give that job.

    Raises:
        TooManyJobs: if as many of its priority are not over; nothing of it is left then.
        QueueUnavailable: the same, if Redis does not take it.
        StorageError: the same for storage.
    """
    job_id = ticket.job_id
    try:
        manifest = new_manifest(
            to.records,
            to.settings,
            job_id=job_id,
            owner=ticket.owner,
            source=source,
            options=options,
            client_id=ticket.client_id,
            name=ticket.name,
            retry_of=ticket.retry_of,
            request=ticket.request,
            then=ticket.then,
        )
        most = to.admission.most(options.priority)
        word = take_in(to.store, to.records, to.dispatcher, manifest, most=most, most_own=ticket.max_open)
    except BaseException as error:
        if _take_back(to, job_id) or not isinstance(error, QueueUnavailable):
            raise
        return _as_accepted(to, manifest)
    if word == "known" and (other := to.records.named(ticket.name or "")) and other.manifest.id != job_id:
        forget_objects(to, job_id)  # a slower request of the same name
        return other
    # Otherwise `known` means that a lost answer was asked for again: the record is ours.
    if word == "full":
        forget_objects(to, job_id)
        raise to.admission.too_many(options.priority)
    if word == "own_full":
        forget_objects(to, job_id)
        raise to.admission.too_many_own(ticket.max_open)
    return _as_accepted(to, manifest)


def forget_objects(to: Services, job_id: str) -> None:
    """Delete what a job that was not accepted has in storage; what cannot be deleted now, a sweep will."""
    try:
        to.store.delete_prefix(job_prefix(job_id))
    except StorageError as error:
        _log.warning("objects of a refused job stay in storage", job_id=job_id, reason=error.message)
        with suppress(QueueUnavailable):
            to.records.disown(job_id)


def _take_back(to: Services, job_id: str) -> bool:
    """Undo; False if a worker has begun the job, so that it must count as accepted."""
    try:
        if not to.records.withdraw(job_id) and to.records.state(job_id) is not None:
            return False
    except QueueUnavailable as error:
        # If the record was made, its job is done once Redis is back, for its recording stays. If not, the recording
        # without a manifest is no job, and is swept.
        _log.warning("the record of a refused job may stay", job_id=job_id, reason=error.message)
        with suppress(StorageError):
            to.store.delete(manifest_key(job_id))
        return True
    forget_objects(to, job_id)
    return True


def _as_accepted(to: Services, manifest: Manifest) -> Job:
    try:
        job = to.records.get(manifest.id)
    except QueueUnavailable:  # gone between the last step and this one; the job is in all the same
        job = None
    begin = Progress(percent=0.0, stage="split", done_seconds=0.0, total_seconds=None)
    return job or Job(manifest=manifest, status=Status.QUEUED, version=1, progress=begin)
