"""`GET /v1/jobs/{id}/events`: what happens to a job, as it happens."""

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, Field

from api import describe
from api.errors import TooManyStreams
from api.jobs.lookup import JobPath, existing
from api.jobs.schemas import is_over, urls_of
from api.services import services
from api.watching.describe import EVENTS_RESPONSES
from api.watching.line import Line
from api.watching.stream import JobStream, place_of
from shared.records import Position

_COME_BACK_SECONDS = 5

watching = APIBlueprint("watching", __name__, abp_tags=[describe.JOBS], abp_responses=describe.ANY_ERROR)


class EventsHeader(BaseModel):
    """Where to begin, as browsers say it."""

    last_event_id: str | None = Field(
        None, alias="Last-Event-ID", description="Id of the last event that was seen; what came after it is told."
    )


class EventsQuery(BaseModel):
    """Where to begin."""

    last_event_id: str | None = Field(
        None, description="Id of the last event that was seen, for who cannot send `Last-Event-ID`."
    )


@watching.get("/v1/jobs/<job_id>/events", summary="Follow a job", responses=EVENTS_RESPONSES)
def events(path: JobPath, header: EventsHeader, query: EventsQuery) -> Response:
    """Tell each state of a job and its progress as server-sent events, until it is over.

    Who sends the id of the last event that it saw hears what has come since.
    """
    to, job = services(), existing(path.job_id)
    seen = Position.parse((header.last_event_id or "").strip() or query.last_event_id or "")
    if is_over(job) and seen and seen >= place_of(job):
        response = Response(status=204)  # a browser does not come again
        del response.headers["Content-Type"]
        return response
    place = to.places.take()
    if place is None:
        raise TooManyStreams(
            "As many requests as this server has room for are watching jobs; come again, or poll the job.",
            headers={"Retry-After": str(_COME_BACK_SECONDS)},
        )
    watch = to.hub.open(job.manifest.id, progress=True)
    line = Line(request.environ)
    body = JobStream(to, watch, place, line, urls_of(job.manifest.id))
    try:
        line.watch_closely()
        # Read again: from here on nothing is missed.
        body.begin(existing(job.manifest.id), seen)
    except BaseException:
        body.close()
        raise
    response = Response(body, mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold it back
    return response
