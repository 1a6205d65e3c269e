"""`GET /v1/jobs/{id}/result`: the finished file, whole or in part."""

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint

from api import describe
from api.errors import (
    JobCanceled,
    JobConflict,
    JobExpired,
    JobFailed,
    JobNotFinished,
    ResultGone,
)
from api.http.names import disposition
from api.http.ranges import choose
from api.jobs.lookup import JobPath, existing
from api.reach import clients_reach_storage
from api.services import services
from shared.errors import ObjectMissing
from shared.jobs import Job, JobOutput, Status
from shared.names import plain_name
from shared.storage import ObjectInfo

PIECE = 256 * 1024

results = APIBlueprint("results", __name__, abp_tags=[describe.RESULTS], abp_responses=describe.ANY_ERROR)


@results.get(
    "/v1/jobs/<job_id>/result",
    summary="Download the result",
    responses=describe.RESULT_RESPONSES,
)
def fetch(path: JobPath) -> Response:
    """Send the finished file, or to where it lies; single byte ranges, `If-Range` and `If-None-Match` are honoured."""
    key, output = _finished(existing(path.job_id))
    store = services().store
    try:
        info = store.head(key)
        response = _answer(info, output)
        if response.status_code != 304 and (elsewhere := _elsewhere(key, output)):
            return _sent_to(elsewhere)
        if request.method == "HEAD" or response.status_code == 304:
            return response
        part = choose(request.headers.get("Range"), request.if_range, etag=info.etag, size=info.size)
        start, stop = (part.start, part.stop) if part else (0, info.size)
        body = store.stream(key, start, stop, chunk=PIECE)
    except ObjectMissing:
        raise ResultGone("The result was deleted from storage; send the recording again.") from None
    if part:
        response.status_code = 206
        response.headers["Content-Range"] = part.content_range
        response.content_length = part.length
    response.response = body  # closed by the server at the end, or when the client is gone
    return response


def _elsewhere(key: str, output: JobOutput) -> str | None:
    """Sign the URL where clients fetch the file past us; None if we send it."""
    settings = services().settings
    if not (settings.results == "redirect" or (settings.results == "auto" and clients_reach_storage(settings))):
        return None
    return services().store.presign_get(
        key,
        expires=settings.result_url_seconds,
        filename=plain_name(output.filename),
        content_type=output.media_type,
        method="HEAD" if request.method == "HEAD" else "GET",
    )


def _sent_to(url: str) -> Response:
    response = Response(status=302)
    del response.headers["Content-Type"]
    response.headers["Location"] = url
    response.headers["Cache-Control"] = "no-store"
    return response


def _finished(job: Job) -> tuple[str, JobOutput]:
    if job.status is Status.SUCCEEDED and job.result_key and job.output:
        return job.result_key, job.output
    raise why_not(job)


def why_not(job: Job, what: str = "result") -> JobConflict:
    """Tell why a job that has not succeeded has no result, or other thing that goes with one."""
    if job.status is Status.FAILED:
        why = job.error.message if job.error else "no reason is known"
        return JobFailed(f"The job failed, so it has no {what}: {why}")
    if job.status is Status.CANCELED:
        return JobCanceled(f"The job was canceled, so it has no {what}.")
    if job.status is Status.EXPIRED:
        return JobExpired(f"The job passed its deadline, so it has no {what}.")
    wait = {"Retry-After": str(describe.RETRY_AFTER)}
    return JobNotFinished(f"The job is {job.status}; ask again later.", headers=wait)


def _answer(info: ObjectInfo, output: JobOutput) -> Response:
    """Make the answer without its body."""
    if request.if_none_match.contains_weak(info.etag):
        response = Response(status=304)
        response.headers.pop("Content-Type", None)
    else:
        response = Response(mimetype=output.media_type)
        response.content_length = info.size
        response.headers["Content-Disposition"] = disposition(output.filename)
        response.headers["X-Content-Type-Options"] = "nosniff"
    response.set_etag(info.etag)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "private, no-cache"
    return response
