"""The OpenAPI document: what the routes cannot tell of themselves."""

from typing import Any, Literal

from flask_openapi3.models.schema import Schema
from flask_openapi3.models.tag import Tag
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel, Field, create_model

from api.http.problems import MEDIA_TYPE, Problem
from api.jobs.options import JobRequest
from api.jobs.schemas import JobPage, JobView
from shared.formats import FORMATS
from shared.jobs import JobOptions, OutputRequest
from shared.receipt import Receipt

JOBS = Tag(name="Jobs", description="Submit recordings and follow them.")
RESULTS = Tag(name="Results", description="Fetch what came out.")
SERVICE = Tag(name="Service", description="How the service is.")

Mode = Literal["validation", "serialization"]

#: Seconds after which it pays to ask again.
RETRY_AFTER = 1


class Ready(BaseModel):
    """Whether work can be taken and done."""

    redis: str = Field(description="`ok`, or what is wrong in a word.")
    storage: str = Field(description="`ok`, or what is wrong in a word.")
    workers: dict[str, int] | None = Field(description="Live workers by stage; null if Redis cannot be asked.")
    ready: bool


class Health(BaseModel):
    """Each service that there is, and how it is."""

    audio_conversion: str = Field(description="`healthy`, or `unhealthy: ` and what is wrong.")


class Alive(BaseModel):
    """The process answers."""

    status: str


class Version(BaseModel):
    """What runs here."""

    name: str
    version: str


_STAGES = JobOptions.model_fields["stages"].description
#: What a form holds otherwise than JSON: a list would be sent as several fields.
_FLAT: dict[str, Any] = {
    "stages": (Literal["restore,vocode", "restore", "vocode"], Field("restore,vocode", description=_STAGES)),
    "webhook_events_filter": (
        str | None,
        Field(None, description=JobOptions.model_fields["webhook_events_filter"].description),
    ),
    **{
        f"output_{name}": (info.annotation, Field(None, alias=f"output.{name}", description=info.description))
        for name, info in OutputRequest.model_fields.items()
    },
}
SubmitForm = create_model(
    "SubmitForm",
    __base__=JobOptions,
    file=(str, Field(min_length=1, description="The recording, with a file name.")),
    **_FLAT,
)
SubmitForm.__doc__ = (
    "A recording and its options, each of which may be given once. Instead of single fields, or beside them, `output` "
    "may come as a JSON object, and so may all options, as `options`."
)


class OptionChanges(JobOptions):
    """What is to be changed of a job's options; the rest stays."""


def _as_form(schema: dict[str, Any]) -> dict[str, Any]:
    """Describe what a form can hold: no null, but fields that nobody has filled in, which count as left out.

    The examples keep Swagger from making up values of its own.
    """
    del schema["properties"]["output"]  # each of its fields is one of the form's
    for name, field in schema["properties"].items():
        if name in schema["required"]:
            continue
        if field.get("default", "") is None:
            del field["default"]
            field["example"] = ""
        if name == "metadata":
            field["example"] = {}
        told = {key: field.pop(key) for key in ("title", "description", "default", "example") if key in field}
        kinds = [{**field, **kind} for kind in field.pop("anyOf", [{}]) if kind != {"type": "null"}]
        schema["properties"][name] = {**told, **or_empty(kinds)}
    return schema


def or_empty(kinds: list[dict[str, Any]]) -> dict[str, Any]:
    """Say that a field of a form may be one of these, or empty."""
    if len(kinds) == 1 and "enum" in kinds[0]:
        return {"enum": [*kinds[0]["enum"], ""]}
    return {"anyOf": [*kinds, {"const": ""}]}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def components(*more: tuple[type[BaseModel], Mode]) -> dict[str, Schema]:
    """Give the schemas that the descriptions refer to, with those that they refer to in turn; *more* of other rooms."""
    return schemas(
        (JobView, "serialization"),
        (JobPage, "serialization"),
        (Problem, "serialization"),
        (Ready, "serialization"),
        (Health, "serialization"),
        (Alive, "serialization"),
        (Version, "serialization"),
        (JobRequest, "validation"),
        (SubmitForm, "validation"),
        (OptionChanges, "validation"),
        *more,
    )


def schemas(*models: tuple[type[BaseModel], Mode]) -> dict[str, Schema]:
    """Give the schemas of models, each as it is read (`validation`) or written (`serialization`)."""
    found: dict[str, Schema] = {}
    for model, mode in models:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}", mode=mode)
        inner = schema.pop("$defs", {})
        schema = _as_form(schema) if model is SubmitForm else schema
        if "$ref" not in schema:  # as of a model that holds itself: it is among the inner ones
            inner[model.__name__] = schema
        found |= {name: Schema(**one) for name, one in inner.items()}
    return found


def _json(model: type[BaseModel], description: str, *headers: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": _reference(model)}},
        **_headers(*headers),
    }


def _problem(description: str, *headers: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": _reference(Problem)}}, **_headers(*headers)}


def _headers(*names: str) -> dict[str, Any]:
    return {"headers": {name: _HEADERS[name] for name in names}} if names else {}


def _header(description: str, kind: str = "string") -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}}


_HEADERS = {
    "Location": _header("Where it is."),
    "WWW-Authenticate": _header("How to send a key."),
    "RateLimit-Policy": _header("Requests that the key may send in so many seconds."),
    "RateLimit": _header("What is left of them, and for how many seconds."),
    "Retry-After": _header("Seconds after which to ask again.", "integer"),
    "ETag": _header("Names this version."),
    "Preference-Applied": _header("What was done of `Prefer`."),
    "Idempotent-Replayed": _header("`true`: the answer to the same request, sent before."),
    "Link": _header('The next page, as `rel="next"`.'),
    "Allow": _header("Methods that the address answers."),
    "Accept-Ranges": _header("`bytes`."),
    "Content-Length": _header("Bytes of this answer.", "integer"),
    "Content-Range": _header("Which bytes of how many."),
    "Content-Disposition": _header("The file's name."),
}

#: For rooms that describe their own routes.
as_json, as_problem, header, headers = _json, _problem, _header, _headers
reference = _reference

PUBLIC_ERRORS: ResponseDict = {"default": _problem("Any other error.")}
#: Of every route that wants a key.
ANY_ERROR: ResponseDict = {
    **PUBLIC_ERRORS,
    "401": _problem("`key_missing`, `key_invalid` or `no_keys`.", "WWW-Authenticate"),
    "403": _problem("`scope_missing`: the key may not do this."),
    "429": _problem("`rate_exceeded`: the key asks too often.", "Retry-After", "RateLimit-Policy", "RateLimit"),
}
_NO_JOB = _problem("`job_not_found`, or `malformed_job_id`.")
_DOWN = _problem("`queue_unavailable`, `storage_unavailable`: try again.", "Retry-After")
DOWN = _DOWN
_UNCHANGED = {"description": "Nothing has changed.", **_headers("ETag")}
_AUDIO = {
    media_type: {"schema": {"type": "string", "format": "binary"}}
    for media_type in [*(form.media_type for form in FORMATS.values()), "application/x-npy"]
}
_RESULT_HEADERS = ("ETag", "Content-Length", "Accept-Ranges", "Content-Disposition")

SUBMIT_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": _reference(SubmitForm),
            "encoding": {"metadata": {"contentType": "application/json"}},
        },
        "application/json": {
            "schema": _reference(JobRequest),
            "example": {"input": {"key": "incoming/tape-12.wav"}, "output": {"bit_depth": 24}},
        },
    },
}
SUBMIT_RESPONSES: ResponseDict = {
    "200": _json(JobView, "The job, which ended while it was waited for.", "Location", "ETag", "Preference-Applied"),
    "202": _json(
        JobView, "The job is queued.", "Location", "Retry-After", "ETag", "Preference-Applied", "Idempotent-Replayed"
    ),
    "400": _problem("`invalid_json`, `malformed_form`, `upload_incomplete` or `idempotency_key_invalid`."),
    "403": _problem("`input_not_allowed` or `url_refused`; or `scope_missing`: the key may not do this."),
    "404": _problem("`input_missing`: there is no such object or upload."),
    "409": _problem(
        "`upload_not_completed`; or `being_taken_in`: the same request is being served; ask again.", "Retry-After"
    ),
    "413": _problem("`upload_too_large`, or `form_too_large`."),
    "415": _problem("`unsupported_media_type`."),
    "422": _problem("`invalid_request`, `file_missing`, `file_empty`, `input_too_large` or `idempotency_key_reused`."),
    "429": _problem("`too_many_jobs`: send it again when some are done; or `rate_exceeded`.", "Retry-After"),
    "503": _problem("`queue_unavailable`, `storage_unavailable` or `queue_full`: try again.", "Retry-After"),
}
PUT_RESPONSES: ResponseDict = {
    **SUBMIT_RESPONSES,
    "200": _json(
        JobView,
        "The job that was made under this name before, or ended while it was waited for.",
        "ETag",
        "Retry-After",
        "Preference-Applied",
    ),
    "400": _problem("`invalid_json`, `malformed_form` or `upload_incomplete`."),
    "404": _problem("`malformed_job_id`; or `input_missing`: there is no such object or upload."),
    "409": _problem("`upload_not_completed`; or `being_taken_in`: ask again.", "Retry-After"),
    "422": _problem("`invalid_request`, `file_missing`, `file_empty` or `input_too_large`."),
}
RETRY_BODY = {
    "required": False,
    "content": {"application/json": {"schema": _reference(OptionChanges), "example": {"mode": 1}}},
}
RETRY_RESPONSES: ResponseDict = {
    "202": _json(JobView, "The new job is queued.", "Location", "Retry-After", "ETag", "Idempotent-Replayed"),
    "400": _problem("`invalid_json`, `upload_incomplete` or `idempotency_key_invalid`."),
    "403": _problem("`url_refused`; or `scope_missing`: the key may not do this."),
    "404": _problem("`job_not_found`, or `malformed_job_id`."),
    "409": _problem(
        "`job_not_retryable`: it has not come to nothing; `options_conflict`: what is changed does not go with the "
        "rest; or `being_taken_in`.",
        "Retry-After",
    ),
    "410": _problem("`source_gone`: the recording was deleted."),
    "413": _problem("`form_too_large`."),
    "415": _problem("`unsupported_media_type`."),
    "422": _problem("`invalid_request`, or `idempotency_key_reused`."),
    "429": _problem("`too_many_jobs`: send it again when some are done; or `rate_exceeded`.", "Retry-After"),
    "503": _problem("`queue_unavailable`, `storage_unavailable` or `queue_full`: try again.", "Retry-After"),
}
LIST_RESPONSES: ResponseDict = {
    "200": _json(JobPage, "A page of jobs.", "Link"),
    "404": _problem("`page_not_found`: the cursor is none; or `batch_not_found`, with `batch_id`."),
    "422": _problem("`invalid_request`: a filter is wrong."),
    "503": _DOWN,
}
READ_RESPONSES: ResponseDict = {
    "200": _json(JobView, "The job.", "ETag", "Retry-After", "Preference-Applied"),
    "304": _UNCHANGED,
    "404": _NO_JOB,
    "503": _DOWN,
}
CANCEL_RESPONSES: ResponseDict = {
    "202": _json(JobView, "The job is canceled, or will be.", "ETag", "Retry-After"),
    "404": _NO_JOB,
    "409": _problem("`job_over`."),
    "503": _DOWN,
}
DELETE_RESPONSES: ResponseDict = {
    "202": _json(JobView, "The job has not stopped yet; delete it again when it is over.", "ETag", "Retry-After"),
    "204": {"description": "The job and its objects are gone."},
    "404": _NO_JOB,
    "503": _DOWN,
}
RESULT_RESPONSES: ResponseDict = {
    "200": {"description": "The file.", "content": _AUDIO, **_headers(*_RESULT_HEADERS)},
    "302": {
        "description": "It is fetched from storage: follow, with the same Range, and without the key.",
        **_headers("Location"),
    },
    "206": {"description": "A part of it.", "content": _AUDIO, **_headers(*_RESULT_HEADERS, "Content-Range")},
    "304": _UNCHANGED,
    "404": _NO_JOB,
    "409": _problem("`job_not_finished`, `job_failed`, `job_canceled` or `job_expired`.", "Retry-After"),
    "410": _problem("`result_gone`."),
    "416": _problem("`range_not_satisfiable`.", "Content-Range"),
    "503": _DOWN,
}
RECEIPT_RESPONSES: ResponseDict = {
    "200": _json(Receipt, "The receipt.", "ETag"),
    "304": _UNCHANGED,
    "404": _NO_JOB,
    "409": _problem("`job_not_finished`, `job_failed`, `job_canceled` or `job_expired`.", "Retry-After"),
    "410": _problem("`receipt_gone`."),
    "503": _DOWN,
}
READY_RESPONSES: ResponseDict = {
    "200": _json(Ready, "Ready."),
    "503": _json(Ready, "Not ready; the body says what is missing."),
}
HEALTH_RESPONSES: ResponseDict = {
    "200": _json(Health, "It is."),
    "503": _json(Health, "It is not; the word says what is missing."),
}
ALIVE_RESPONSES: ResponseDict = {"200": _json(Alive, "Alive.")}
VERSION_RESPONSES: ResponseDict = {"200": _json(Version, "The version.")}
