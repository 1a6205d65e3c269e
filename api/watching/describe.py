"""What the OpenAPI document says of waiting and watching."""

from flask_openapi3.types import ResponseDict

from api.describe import as_problem, header

_EXAMPLE = """\
retry: 3000

id: 1764066936081-0
event: status
data: {"id":"6c03…","status":"processing","sequence":2,"urls":{…},"progress":{…}}

event: progress
data: {"id":"6c03…","status":"processing","sequence":7,"urls":{…},"progress":{…}}

id: 1764066936718-0
event: status
data: {"id":"6c03…","status":"succeeded","sequence":12,"urls":{…},"progress":{…},"job":{…}}
"""

#: Of each event, as readers of event streams give it.
_EVENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "Where it stands; events of progress have none of their own."},
        "event": {"enum": ["status", "progress"]},
        "data": {"type": "string", "description": "A JSON object: the job's state, and at its end the job."},
        "retry": {"type": "integer", "description": "Milliseconds after which to connect again."},
    },
    "required": ["event", "data"],
}

EVENTS_RESPONSES: ResponseDict = {
    "200": {
        "description": "Events: `status` with each state, `progress` twice a second at most; the last holds the job.",
        "content": {"text/event-stream": {"schema": _EVENT, "example": _EXAMPLE}},
        "headers": {"Cache-Control": header("`no-store`.")},
    },
    "204": {"description": "The job is over, and its last event was seen."},
    "404": as_problem("`job_not_found`, or `malformed_job_id`."),
    "503": as_problem("`too_many_streams`, `queue_unavailable`: come again.", "Retry-After"),
}
