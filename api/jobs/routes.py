"""The routes under `/v1/jobs`, the result apart."""

import re
from dataclasses import replace
from typing import Annotated, Any

from flask import Response, jsonify, request, url_for
from flask_openapi3.blueprint import APIBlueprint
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from api import cursor, describe
from api.batches.items import page_of_jobs
from api.batches.lookup import existing as existing_batch
from api.caller import caller
from api.errors import JobOver, MalformedJobId
from api.idempotency import OnceHeader, once, see_again
from api.jobs.canceling import cancel_job
from api.jobs.lookup import CLIENT_ID, CLIENT_ID_RULE, JobPath, existing, unknown
from api.jobs.receipts import receipt_of
from api.jobs.retry import retry
from api.jobs.schemas import dump, dump_whole, etag, is_over
from api.jobs.sent import Sent
from api.jobs.submit import new_ticket, read_in_vain, submit
from api.services import Services, services
from api.taking import derived_id, taking
from api.watching.line import Line
from api.watching.prefer import DeleteHeader, PreferHeader
from api.watching.wait import time_to_stop, until_over, waited_for
from shared import log
from shared.errors import StorageError
from shared.jobs import TERMINAL, Job, Status
from shared.keys import job_prefix
from shared.receipt import Receipt

_log = log.logger("api")

jobs = APIBlueprint("jobs", __name__, abp_tags=[describe.JOBS], abp_responses=describe.ANY_ERROR)


def _no_number(value: object) -> object:
    """Refuse what pydantic would take for seconds since 1970, as it would the year 2026."""
    if isinstance(value, str) and not re.match(r"\d{4}-\d\d-\d\d", value):
        raise ValueError("must be a time such as 2026-11-22T20:15:36Z")
    return value


class SubmitHeader(PreferHeader, OnceHeader):
    """How a request is to be answered, and that it is to be served once."""


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
def create(header: SubmitHeader) -> Response:
    """Send a recording as the part `file` of a form, or name one that is in storage.

    The answer comes as soon as the job is queued, or when it is over if that is preferred (`Prefer: wait=30`).
    """
    made: list[Job] = []

    def serve(sent: Sent) -> Response:
        made.append(submit(services(), request, new_ticket(sent), sent))
        return _accepted(made[0])

    answer = once(header.idempotency_key, serve, served=_made_before)
    if not made:
        return answer
    waited = waited_for(made[0], header.prefer)
    return waited.mark(_accepted(waited.job, 200 if waited.in_time else 202))


@jobs.put(
    "/v1/jobs/<job_id>",
    summary="Submit a job under a name of your own",
    openapi_extensions={"requestBody": describe.SUBMIT_BODY},
    responses=describe.PUT_RESPONSES,
)
def put(path: JobPath, header: PreferHeader) -> Response:
    """Do as `POST /v1/jobs`, once: whichever job is asked for again under the name, the answer is the one there is."""
    to = services()
    if not CLIENT_ID.fullmatch(path.job_id):
        raise MalformedJobId(f"{CLIENT_ID_RULE} This is none.")
    name = derived_id(caller().owner, path.job_id)
    with taking(name):
        job = to.records.named(name)
        known = job is not None
        sent = Sent(request)
        if job is None:
            job = submit(to, request, replace(new_ticket(sent), client_id=path.job_id, name=name), sent)
    if known:  # many clients look for the answer only when they have sent it all
        read_in_vain(to, request, sent)
    waited = waited_for(job, header.prefer)
    # Who waits in vain is told so, as with a job that is new.
    done = waited.in_time or (known and waited.wait is None)
    return waited.mark(_accepted(waited.job, 200 if done else 202))


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
def read(path: JobPath, header: PreferHeader) -> Response:
    """Tell the state of a job, or its end if that is preferred (`Prefer: wait=30`).

    `If-None-Match` spares the body while nothing has changed.
    """
    waited = waited_for(existing(path.job_id), header.prefer)
    if request.if_none_match.contains_weak(etag(waited.job)):
        return waited.mark(_marked(Response(status=304), waited.job))
    return waited.mark(_show(waited.job, 200))


@jobs.post("/v1/jobs/<job_id>/cancel", summary="Cancel a job", responses=describe.CANCEL_RESPONSES)
def cancel(path: JobPath) -> Response:
    """Stop a job: at once if it is waiting, otherwise as soon as its workers see it."""
    to = services()
    before = existing(path.job_id)
    job_id = before.manifest.id
    state = before.status if is_over(before) else cancel_job(to, job_id)
    if state is None:
        raise unknown()
    if is_over(before) or state in TERMINAL - {Status.CANCELED}:
        raise JobOver(f"The job is over: {state}.")
    return _show(existing(job_id), 202)


@jobs.post(
    "/v1/jobs/<job_id>/retry",
    summary="Do a job again",
    openapi_extensions={"requestBody": describe.RETRY_BODY},
    responses=describe.RETRY_RESPONSES,
)
def again(path: JobPath, header: OnceHeader) -> Response:
    """Queue a new job with the recording and the options of one that failed, was canceled or expired.

    A JSON object may change options; what it leaves out stays.
    """
    return once(
        header.idempotency_key,
        lambda sent: _accepted(retry(services(), request, existing(path.job_id), sent)),
        served=_made_before,
    )


@jobs.delete("/v1/jobs/<job_id>", summary="Delete a job", responses=describe.DELETE_RESPONSES)
def delete(path: JobPath, header: DeleteHeader) -> Response:
    """Forget a job and all its objects. One that is running is canceled first.

    What has not stopped within a few seconds is to be deleted again when it is over (202). A recording that was in
    storage before the job stays there.
    """
    to = services()
    job = existing(path.job_id)
    job_id = job.manifest.id
    state = job.status if is_over(job) else cancel_job(to, job_id)
    if state is not None and state not in TERMINAL:
        with time_to_stop(header.prefer) as deadline:
            job = until_over(existing(job_id), Line(request.environ), deadline=deadline)
        if not is_over(job):
            return _show(job, 202)
    # The record goes last: were we to stop in between, the job is still there to be deleted again.
    to.store.delete_prefix(job_prefix(job_id))
    to.records.remove(job_id)
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


def _made_before(sent: Sent) -> Response | None:
    """Answer with the job that a request of the same key has made."""
    job = services().records.named(sent.derived_id) if sent.derived_id else None
    if job is None:
        return None
    see_again(sent, job.manifest.request)
    return _accepted(job)


def _accepted(job: Job, status: int = 202) -> Response:
    response = _show(job, status)
    response.headers["Location"] = url_for("jobs.read", job_id=job.manifest.id)
    return response


def _show(job: Job, status: int) -> Response:
    receipt, known = _receipt(job)
    response = jsonify(dump_whole(job, receipt))
    response.status_code = status
    _marked(response, job)
    if not known:  # it is to be asked for again
        del response.headers["ETag"]
    return response


def _receipt(job: Job) -> tuple[Receipt | None, bool]:
    """Read the receipt; storage that is away keeps nobody from hearing how the job stands."""
    try:
        return receipt_of(services(), job), True
    except StorageError as error:
        _log.warning("a job is shown without its receipt", job_id=job.manifest.id, reason=error.message)
        return None, False


def _marked(response: Response, job: Job) -> Response:
    response.set_etag(etag(job))
    response.headers["Cache-Control"] = "no-store"
    if not is_over(job):
        response.headers["Retry-After"] = str(describe.RETRY_AFTER)
    return response


def _page(to: Services, query: ListQuery) -> tuple[list[Job], bool]:
    """Read a page, and tell whether another follows."""
    before = cursor.position(query.cursor)
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


def _of_batch(to: Services, query: ListQuery, batch_id: str) -> tuple[list[Job], str | None]:
    """Read a page of a batch's jobs, and give the address of the next."""
    batch = existing_batch(batch_id)
    position = cursor.position(query.cursor)
    after = query.created_after.timestamp() if query.created_after else None
    first = int(position[0]) if position else 0
    found, following = page_of_jobs(to, batch, status=query.status, created_after=after, first=first, limit=query.limit)
    return found, None if following is None else _next_page(query, (float(following), batch.id))


def _after(last: Job) -> cursor.Position:
    return last.manifest.created_at, last.manifest.id


def _next_page(query: ListQuery, position: cursor.Position) -> str:
    args: dict[str, Any] = {**request.args.to_dict(), "limit": query.limit, "cursor": cursor.encode(position)}
    return url_for("jobs.listing", **args)
