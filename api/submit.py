"""Submitting a job: a recording that comes with the request, or one that is in storage already."""

import uuid
from typing import IO

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
    MalformedForm,
    UnsupportedMedia,
)
from api.fields import from_fields
from api.forms import FORM_BYTES, receive, upload_too_large
from api.names import plain_name
from api.options import InputReference, JobRequest, read_options
from api.services import Services
from api.uploads.inputs import uploaded_input
from shared.errors import InvalidKey, ObjectMissing
from shared.jobs import Job, JobInput, JobOptions
from shared.keys import source_key
from shared.storage.keys import check_key


def new_ticket() -> Ticket:
    """Give the ticket of a job that its caller did not name."""
    asking = caller()
    return Ticket(uuid.uuid4().hex, asking.owner, max_open=asking.max_open)


def submit(to: Services, request: Request, ticket: Ticket, stream: IO[bytes]) -> Job:
    """Read the request, whose body is *stream*, and queue its job.

    Raises:
        RequestError: if it cannot be done as asked.
        QueueUnavailable: if Redis is down.
        StorageError: if storage is.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("Send the body as it is, without Content-Encoding.")
    if request.mimetype == "multipart/form-data":
        return _from_form(to, request, ticket, stream)
    if request.mimetype == "application/json":
        return _from_json(to, ticket, stream)
    raise UnsupportedMedia("Send multipart/form-data with the recording, or application/json that names an object.")


def _from_form(to: Services, request: Request, ticket: Ticket, stream: IO[bytes]) -> Job:
    most = to.settings.max_upload_bytes
    if (request.content_length or 0) > most + 2 * FORM_BYTES:
        raise upload_too_large(most)
    boundary = request.mimetype_params.get("boundary", "")
    if not boundary or len(boundary) > 200 or not boundary.isascii():
        raise MalformedForm("Content-Type names no usable boundary.")
    to.admission.check()  # better told before two gigabytes than after
    job_id = ticket.job_id
    about_job(job_id)
    with to.store.writer(source_key(job_id)) as out:
        upload = receive(stream, boundary.encode(), out, max_bytes=most)
        body_was_read()
        options = read_options(from_fields(upload.fields), to.settings, model=JobOptions)
        try:
            out.commit()
        except BaseException:
            forget_objects(to, job_id)  # it may have arrived all the same
            raise
    source = JobInput(key=source_key(job_id), filename=plain_name(upload.filename), bytes=upload.size)
    return accept(to, ticket, source, options)


def _from_json(to: Services, ticket: Ticket, stream: IO[bytes]) -> Job:
    asked = read_options(json_body(stream), to.settings, model=JobRequest)
    to.admission.check(asked.priority)
    source = _named_input(to, ticket.job_id, asked.input)
    about_job(ticket.job_id)
    return accept(to, ticket, source, asked.options())


def _named_input(to: Services, job_id: str, named: InputReference) -> JobInput:
    if named.upload is not None:
        return uploaded_input(to, job_id, named.upload)
    assert named.key is not None
    return _stored_input(to, named.key)


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
