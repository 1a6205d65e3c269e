"""Submitting a job: a recording that comes with the request, is in storage already, or is fetched from its URL."""

import uuid
from dataclasses import replace

from flask import Request

from api.caller import caller
from api.errors import (
    FieldError,
    FileEmpty,
    InputMissing,
    InputNotAllowed,
    InputTooLarge,
    UnsupportedMedia,
    UrlNotCalled,
)
from api.http.access import about_job, body_was_read
from api.http.bodies import FORM_BYTES, json_body, refuse_encoded
from api.jobs.accept import Ticket, accept, forget_objects
from api.jobs.fields import from_fields
from api.jobs.forms import upload_too_large
from api.jobs.options import InputReference, JobRequest, possible_options, read_options
from api.jobs.sent import Nowhere, Sent
from api.services import Services
from api.uploads.inputs import uploaded_input
from shared.inputs import InputRefused, input_to_fetch, stored_input
from shared.jobs import Job, JobInput, JobOptions
from shared.keys import source_key
from shared.names import plain_name
from shared.outgoing import UrlRefused


def new_ticket(sent: Sent, *, retry_of: str | None = None) -> Ticket:
    """Give the ticket of a new job; one that is made once has the name for which *sent* stands."""
    asking = caller()
    return Ticket(uuid.uuid4().hex, asking.owner, name=sent.derived_id, retry_of=retry_of, max_open=asking.max_open)


def submit(to: Services, request: Request, ticket: Ticket, sent: Sent) -> Job:
    """Read the request, whose body is that of *sent*, and queue its job.

    Raises:
        RequestError: if it cannot be done as asked.
        QueueUnavailable: if Redis is down.
        StorageError: if storage is.
    """
    refuse_encoded(request)
    if request.mimetype == "multipart/form-data":
        return _from_form(to, request, ticket, sent)
    if request.mimetype == "application/json":
        return _from_json(to, ticket, sent)
    raise _neither()


def read_in_vain(to: Services, request: Request, sent: Sent) -> None:
    """Read a request whose job is there already: it is to be one that could have made it. Nothing of it is kept.

    Raises:
        RequestError: if it is not.
    """
    refuse_encoded(request)
    if request.mimetype == "multipart/form-data":
        most = to.settings.max_upload_bytes
        _refuse_large(request, most)
        upload = sent.receive(Nowhere(), max_bytes=most)
        body_was_read()
        possible_options(from_fields(upload.fields), to.settings, to.catalog, model=JobOptions)
    elif request.mimetype == "application/json":
        possible_options(json_body(sent.stream), to.settings, to.catalog, model=JobRequest)
    else:
        raise _neither()


def _neither() -> UnsupportedMedia:
    return UnsupportedMedia("Send multipart/form-data with the recording, or application/json that names it.")


def _refuse_large(request: Request, most: int) -> None:
    if (request.content_length or 0) > most + 2 * FORM_BYTES:
        raise upload_too_large(most)


def _from_form(to: Services, request: Request, ticket: Ticket, sent: Sent) -> Job:
    most = to.settings.max_upload_bytes
    _refuse_large(request, most)
    to.admission.check()  # better told before two gigabytes than after
    job_id = ticket.job_id
    about_job(job_id)
    with to.store.writer(source_key(job_id)) as out:
        upload = sent.receive(out, max_bytes=most)
        body_was_read()
        options = read_options(from_fields(upload.fields), to.settings, to.catalog, model=JobOptions)
        try:
            out.commit()
        except BaseException:
            forget_objects(to, job_id)  # it may have arrived all the same
            raise
    source = JobInput(key=source_key(job_id), filename=plain_name(upload.filename), bytes=upload.size)
    return accept(to, known_by(ticket, sent), source, options)


def known_by(ticket: Ticket, sent: Sent) -> Ticket:
    """Have a job know the request that made it, once its body was read, if that may come again."""
    return replace(ticket, request=sent.fingerprint()) if sent.derived_id else ticket


def _from_json(to: Services, ticket: Ticket, sent: Sent) -> Job:
    asked = read_options(json_body(sent.stream), to.settings, to.catalog, model=JobRequest)
    to.admission.check(asked.priority)
    source = named_input(to, asked.input, ticket.job_id)
    about_job(ticket.job_id)
    return accept(to, known_by(ticket, sent), source, asked.options())


def named_input(to: Services, named: InputReference, job_id: str) -> JobInput:
    """Find the recording of a job that a request names.

    Raises:
        RequestError: if it cannot be one.
        StorageError: if storage is down.
    """
    if named.upload is not None:
        return uploaded_input(to, job_id, named.upload)
    try:
        if named.url is not None:
            return input_to_fetch(to.outgoing, named.url, job_id)
        return stored_input(to.store, to.settings, named.key or "")
    except UrlRefused as refused:
        raise UrlNotCalled(refused.message, [FieldError("#/input/url", refused.message)]) from None
    except InputRefused as refused:
        kinds = {kind.code: kind for kind in (InputNotAllowed, InputMissing, FileEmpty, InputTooLarge)}
        raise kinds[refused.reason](refused.message, [FieldError("#/input/key", refused.detail)]) from None
