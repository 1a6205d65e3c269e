"""Doing a job again that came to nothing: a new job, with the recording of the old one."""

import uuid
from dataclasses import replace

from flask import Request

from api.errors import JobNotRetryable, OptionsConflict, SourceGone, Unprocessable, UnsupportedMedia
from api.http.access import about_job
from api.http.bodies import json_body
from api.jobs.accept import accept, forget_objects
from api.jobs.options import InputReference, read_options
from api.jobs.sent import Sent
from api.jobs.submit import known_by, named_input, new_ticket
from api.services import Services
from shared.errors import ObjectMissing
from shared.jobs import Following, Job, JobInput, JobOptions, Status
from shared.keys import source_key

_RETRYABLE = {Status.FAILED, Status.CANCELED, Status.EXPIRED}


def retry(to: Services, request: Request, job: Job, sent: Sent) -> Job:
    """Queue a new job with the recording and the options of one that failed, was canceled or expired.

    Jobs that were to go on with its result go on with that of the new one. A JSON object as body changes some of the
    options.

    Raises:
        JobNotRetryable: if the job has not come to nothing.
        OptionsConflict: if what is changed does not go with the rest.
        SourceGone: if the recording was deleted.
        RequestError: if the changed options cannot be, or no job can be taken in now.
        QueueUnavailable: if Redis is down.
        StorageError: if storage is.
    """
    if job.status not in _RETRYABLE:
        raise _why_not(job)
    options = _options(to, request, job, sent)
    to.admission.check(options.priority)
    ticket = replace(known_by(new_ticket(sent, retry_of=job.manifest.id), sent), then=_following(job))
    about_job(ticket.job_id)
    try:
        return accept(to, ticket, _source(to, job, ticket.job_id), options)
    except ObjectMissing:
        raise SourceGone("The recording was deleted from storage; send it again with a job of its own.") from None


def _why_not(job: Job) -> JobNotRetryable:
    if job.status is Status.SUCCEEDED:
        return JobNotRetryable("The job has succeeded; fetch its result, or submit its recording again.")
    return JobNotRetryable(f"The job is {job.status}; cancel it first, or wait until it is over.")


def _options(to: Services, request: Request, job: Job, sent: Sent) -> JobOptions:
    before = job.manifest.options
    if not request.content_length and "Transfer-Encoding" not in request.headers:
        return before
    if request.mimetype != "application/json":
        raise UnsupportedMedia("Send options to be changed as application/json, or no body.")
    changed = json_body(sent.stream)
    try:
        return read_options({**before.model_dump(mode="json"), **changed}, to.settings, to.catalog, model=JobOptions)
    except Unprocessable as error:
        if any(fault.pointer != "#" for fault in error.errors):
            raise
        # Each is one that can be; it is together with those that the job has that they cannot.
        raise OptionsConflict(f"The job's options do not go together then: {error.errors[0].detail}.") from None


def _following(job: Job) -> tuple[Following, ...] | None:
    """Name them anew: one of the old names may be taken, by a job that was canceled with the one before it."""
    then = job.manifest.then
    return then and tuple(one.model_copy(update={"id": uuid.uuid4().hex}) for one in then)


def _source(to: Services, job: Job, job_id: str) -> JobInput:
    """Give the new job a recording: a copy of the old job's own, the same object in storage, or the same URL."""
    source = job.manifest.input
    if source.url is not None:
        return named_input(to, InputReference(url=source.url), job_id)
    if source.key != source_key(job.manifest.id):
        return source.model_copy(update={"bytes": to.store.head(source.key).size})
    try:
        copied = to.store.copy(source.key, source_key(job_id))
    except BaseException:
        forget_objects(to, job_id)  # it may have arrived all the same
        raise
    return source.model_copy(update={"key": copied.key, "bytes": copied.size})
