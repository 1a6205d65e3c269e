"""Submitting a job: a recording that comes with the request, is in storage already, or is fetched from its URL."""

import uuid
from dataclasses import replace

from flask import Request

from api.accept import Ticket, accept, forget_objects
from api.access import about_job, body_was_read
from api.bodies import json_body
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
from api.fields import from_fields
from api.forms import FORM_BYTES, upload_too_large
from api.options import InputReference, JobRequest, read_options
from api.sent import Sent
from api.services import Services
from api.uploads.inputs import uploaded_input
from shared.errors import InvalidKey, ObjectMissing
from shared.jobs import Job, JobInput, JobOptions
from shared.keys import source_key
from shared.names import plain_name
from shared.outgoing import UrlRefused, filename_of
from shared.storage.keys import check_key


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
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("Send the body as it is, without Content-Encoding.")
    if request.mimetype == "multipart/form-data":
        return _from_form(to, request, ticket, sent)
    if request.mimetype == "application/json":
        return _from_json(to, ticket, sent)
    raise UnsupportedMedia("Send multipart/form-data with the recording, or application/json that names it.")


def _from_form(to: Services, request: Request, ticket: Ticket, sent: Sent) -> Job:
    most = to.settings.max_upload_bytes
    if (request.content_length or 0) > most + 2 * FORM_BYTES:
        raise upload_too_large(most)
    to.admission.check()  # better told before two gigabytes than after
    job_id = ticket.job_id
    about_job(job_id)
    with to.store.writer(source_key(job_id)) as out:
        upload = sent.receive(out, max_bytes=most)
        body_was_read()
        options = read_options(from_fields(upload.fields), to.settings, model=JobOptions)
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
    asked = read_options(json_body(sent.stream), to.settings, model=JobRequest)
    to.admission.check(asked.priority)
    source = _named_input(to, asked.input, ticket.job_id)
    about_job(ticket.job_id)
    return accept(to, known_by(ticket, sent), source, asked.options())


def _named_input(to: Services, named: InputReference, job_id: str) -> JobInput:
    if named.url is not None:
        return input_to_fetch(to, named.url, job_id)
    if named.upload is not None:
        return uploaded_input(to, job_id, named.upload)
    return _stored_input(to, named.key or "")


def input_to_fetch(to: Services, url: str, job_id: str) -> JobInput:
    """Give the input of a job whose recording a worker fetches.

    Refused now is what the worker would refuse later; what it finds there then may be something else again.

    Raises:
        UrlNotCalled: if the URL leads to where this service does not call.
    """
    try:
        target = to.outgoing.check(url)
    except UrlRefused as error:
        raise UrlNotCalled(error.message, [FieldError("#/input/url", error.message)]) from None
    return JobInput(key=source_key(job_id), url=target.url, filename=filename_of(target.url))


def _stored_input(to: Services, key: str) -> JobInput:
    place = "#/input/key"
    try:
        check_key(key)
    except InvalidKey as error:
        raise InputNotAllowed(error.message, [FieldError(place, "is not a storage key")]) from None
    prefixes = [prefix.rstrip("/") + "/" for prefix in to.settings.input_prefixes]
    if not key.startswith(tuple(prefixes)):
        allowed = ", ".join(prefixes) or "none"
        detail = f"is not under a prefix from which this service takes recordings ({allowed})"
        raise InputNotAllowed(f"The key {detail}.", [FieldError(place, detail)])
    try:
        found = to.store.head(key)
    except ObjectMissing:
        raise InputMissing("There is no such object in storage.", [FieldError(place, "names no object")]) from None
    if not found.size:
        raise FileEmpty("The object is empty.", [FieldError(place, "names an empty object")])
    if found.size > to.settings.max_upload_bytes:
        detail = f"names an object of {found.size} bytes; {to.settings.max_upload_bytes} are allowed"
        raise InputTooLarge(f"The key {detail}.", [FieldError(place, detail)])
    return JobInput(key=key, filename=plain_name(key), bytes=found.size)
