"""The routes under `/v1/jobs`, the result apart."""

import re
from typing import Annotated, Any

from flask import Response, jsonify, request, url_for
from flask_openapi3.blueprint import APIBlueprint
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from api import cursor, describe
from api.accept import Ticket
from api.batches.items import page_of_jobs
from api.batches.lookup import existing as existing_batch
from api.caller import caller
from api.errors import BeingTakenIn, FieldError, JobOver, MalformedJobId, Unprocessable
from api.lookup import CLIENT_ID, CLIENT_ID_RULE, JobPath, existing, unknown
from api.schemas import dump, etag, is_over
from api.services import Services, services
from api.submit import new_ticket, submit
from api.taking import derived_id, taking
from shared import log
from shared.errors import StorageError
from shared.jobs import TERMINAL, Job, Status
from shared.keys import job_prefix, work_prefix

_log = log.logger("api")

jobs = APIBlueprint("jobs", __name__, abp_tags=[describe.JOBS], abp_responses=describe.ANY_ERROR)


def _no_number(value: object) -> object:
    """Refuse what pydantic would take for seconds since 1970, as it would the year 2026."""
    if isinstance(value, str) and not re.match(r"\d{4}-\d\d-\d\d", value):
        raise ValueError("must be a time such as 2026-11-22T20:15:36Z")
    return value


class ListQuery(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid")

    status: Status | None = Field(None, description="Only jobs in this state.")
    batch_id: str | None = Field(None, description="Only jobs of this batch, in the order of its items.")
    created_after: Annotated[AwareDatetime | None, BeforeValidator(_no_number)] = Field(
        None, description="Only jobs younger than this (RFC 3339)."
    )
    limit: int = Field(20, ge=1, le=100, description="Most jobs on a page.")
    cursor: str | None = Field(None, description="From `next` of the page before.")


@jobs.post(
    "/v1/jobs",
    summary="Submit a job",
    openapi_extensions={"requestBody": describe.SUBMIT_BODY},
    responses=describe.SUBMIT_RESPONSES,
)
def create() -> Response:
    """Send a recording as the part `file` of a form, or name one that is in storage; the answer comes at once."""
    return _accepted(submit(services(), request, new_ticket(), request.stream))


@jobs.put(
    "/v1/jobs/<job_id>",
    summary="Submit a job under a name of your own",
    openapi_extensions={"requestBody": describe.SUBMIT_BODY},
    responses=describe.PUT_RESPONSES,
)
def put(path: JobPath) -> Response:
    """Do as `POST /v1/jobs`, once: whatever is sent again under the same name, the answer is the job that is there."""
    to, name = services(), path.job_id
    if not CLIENT_ID.fullmatch(name):
        raise MalformedJobId(f"{CLIENT_ID_RULE} This is none.")
    asking = caller()
    ticket = Ticket(derived_id(asking.owner, name), asking.owner, client_id=name, max_open=asking.max_open)
    with taking(ticket.job_id) as right:
        if (job := to.records.get(ticket.job_id)) is not None:
            return _show(job, 200)
        if to.records.is_gone(ticket.job_id):  # its objects are still being deleted
            raise BeingTakenIn("The job of this name was deleted a moment ago.", headers={"Retry-After": "5"})
        return _accepted(submit(to, request, ticket, right.watch(request.stream)))


@jobs.get("/v1/jobs", summary="List jobs, youngest first", responses=describe.LIST_RESPONSES)
def listing(query: ListQuery) -> Response:
    """List jobs. Follow `next` for more: jobs that come in meanwhile do not shift the pages."""
    if query.batch_id is not None:
        found, following = _of_batch(services(), query, query.batch_id)
    else:
        found, more = _page(services(), query)
        following = _next_page(query, _after(found[-1])) if more else None
    response = jsonify(jobs=[dump(job) for job in found], next=following)
    response.headers["Cache-Control"] = "no-store"
    if following:
        response.headers["Link"] = f'<{following}>; rel="next"'
    return response


@jobs.get("/v1/jobs/<job_id>", summary="Ask for a job", responses=describe.READ_RESPONSES)
def read(path: JobPath) -> Response:
    """Tell the state of a job. `If-None-Match` spares the body while nothing has changed."""
    job = existing(path.job_id)
    if request.if_none_match.contains_weak(etag(job)):
        return _marked(Response(status=304), job)
    return _show(job, 200)


@jobs.post("/v1/jobs/<job_id>/cancel", summary="Cancel a job", responses=describe.CANCEL_RESPONSES)
def cancel(path: JobPath) -> Response:
    """Stop a job: at once if it is waiting, otherwise as soon as its workers see it."""
    to = services()
    before = existing(path.job_id)
    job_id = before.manifest.id
    state = before.status if is_over(before) else to.records.cancel(job_id)
    if state is None:
        raise unknown()
    if is_over(before) or state in TERMINAL - {Status.CANCELED}:
        raise JobOver(f"The job is over: {state}.")
    if state is Status.CANCELED:
        _forget_work(to, job_id)
    return _show(existing(job_id), 202)


@jobs.delete("/v1/jobs/<job_id>", summary="Delete a job", responses=describe.DELETE_RESPONSES)
def delete(path: JobPath) -> Response:
    """Forget a job and all its objects. One that is running is canceled first: delete it again when it is over.

    A recording that was in storage before the job stays there.
    """
    to = services()
    job = existing(path.job_id)
    job_id = job.manifest.id
    state = job.status if is_over(job) else to.records.cancel(job_id)
    if state is not None and state not in TERMINAL:
        return _show(existing(job_id), 202)
    # The record goes last: were we to stop in between, the job is still there to be deleted again.
    to.store.delete_prefix(job_prefix(job_id))
    to.records.remove(job_id)
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


def _accepted(job: Job) -> Response:
    response = _show(job, 202)
    response.headers["Location"] = url_for("jobs.read", job_id=job.manifest.id)
    return response


def _show(job: Job, status: int) -> Response:
    response = jsonify(dump(job))
    response.status_code = status
    return _marked(response, job)


def _marked(response: Response, job: Job) -> Response:
    response.set_etag(etag(job))
    response.headers["Cache-Control"] = "no-store"
    if not is_over(job):
        response.headers["Retry-After"] = str(describe.RETRY_AFTER)
    return response


def _forget_work(to: Services, job_id: str) -> None:
    try:
        to.store.delete_prefix(work_prefix(job_id))
    except StorageError as error:  # the job is canceled all the same; DELETE takes the rest
        _log.warning("working objects of a canceled job stay", job_id=job_id, reason=error.message)


def _page(to: Services, query: ListQuery) -> tuple[list[Job], bool]:
    """Read a page, and tell whether another follows."""
    before = _position(query.cursor)
    after = query.created_after.timestamp() if query.created_after else None
    found: list[Job] = []
    while len(found) <= query.limit:
        missing = query.limit + 1 - len(found)
        some = to.records.page(caller().owner, status=query.status, created_after=after, before=before, limit=missing)
        if not some:
            break
        found += some
        before = (some[-1].manifest.created_at, some[-1].manifest.id)
    return found[: query.limit], len(found) > query.limit


def _position(text: str | None) -> cursor.Position | None:
    try:
        return cursor.decode(text) if text is not None else None
    except ValueError:
        raise Unprocessable.of(FieldError("#/cursor", "is none of this service; begin again without it")) from None


def _of_batch(to: Services, query: ListQuery, batch_id: str) -> tuple[list[Job], str | None]:
    """Read a page of a batch's jobs, and give the address of the next."""
    batch = existing_batch(batch_id)
    position = _position(query.cursor)
    after = query.created_after.timestamp() if query.created_after else None
    first = int(position[0]) if position else 0
    found, following = page_of_jobs(to, batch, status=query.status, created_after=after, first=first, limit=query.limit)
    return found, None if following is None else _next_page(query, (float(following), batch.id))


def _after(last: Job) -> cursor.Position:
    return last.manifest.created_at, last.manifest.id


def _next_page(query: ListQuery, position: cursor.Position) -> str:
    args: dict[str, Any] = {**request.args.to_dict(), "limit": query.limit, "cursor": cursor.encode(position)}
    return url_for("jobs.listing", **args)
