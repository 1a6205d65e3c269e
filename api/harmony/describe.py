"""What the OpenAPI document says of Harmony's routes."""

from typing import Any

from flask_openapi3.models.tag import Tag
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel

from api.describe import Mode, as_json, header, headers, reference
from api.harmony.envelope import HarmonyError, Unauthorized
from api.harmony.schemas import ConvertAnswer, ConvertRequest, ModelList
from shared.formats import FORMATS

HARMONY = Tag(
    name="Harmony Speech Engine",
    description="Its audio conversion, for programs that were written for it: errors are in its envelope.",
)
#: A whole WAV file, a millisecond long.
EXAMPLE = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQgAAACAlqqWgGpWag=="
#: What the descriptions refer to.
MODELS: tuple[tuple[type[BaseModel], Mode], ...] = (
    (ConvertRequest, "validation"),
    (ConvertAnswer, "serialization"),
    (ModelList, "serialization"),
    (HarmonyError, "serialization"),
    (Unauthorized, "serialization"),
)


def _error(description: str, *names: str, model: type[BaseModel] = HarmonyError) -> dict[str, Any]:
    return as_json(model, description, *names)


#: Of every route of Harmony's.
ANY_ERROR: ResponseDict = {
    "default": _error("Any other error."),
    "401": _error("There is no key, or none that opens this.", "WWW-Authenticate", model=Unauthorized),
    "403": _error("The key may not do this."),
    "429": _error("The key asks too often, or too many jobs are not over.", "Retry-After"),
    "503": _error("Redis or storage is down, or too many requests wait: ask again.", "Retry-After"),
}
CONVERT_BODY = {
    "required": True,
    # No `example`: a client that makes requests of it would send this model what is no recording.
    "description": f'For example `{{"model": "voicefixer", "source_audio": "{EXAMPLE}"}}`.',
    "content": {"application/json": {"schema": reference(ConvertRequest)}},
}
_BYTES = {
    media_type: {"schema": {"type": "string", "format": "binary"}}
    for media_type in [*(form.media_type for form in FORMATS.values()), "application/x-npy"]
}
CONVERT_RESPONSES: ResponseDict = {
    "200": {
        "description": "What came out: as base64 in JSON, or with `output_options.stream` the bytes themselves.",
        "content": {"application/json": {"schema": reference(ConvertAnswer)}, **_BYTES},
        "headers": {
            "Link": header('The job that made it, as `rel="describedby"`.'),
            **headers("Content-Length")["headers"],
        },
    },
    "400": _error("The request cannot be served: the body, a field, or the recording itself is wrong."),
    "404": _error("There is no such model."),
    "409": _error("The job was canceled or deleted meanwhile."),
    "410": _error("The result was deleted meanwhile."),
    "413": _error("The recording is larger than this route takes."),
    "415": _error("The body is not JSON as it is."),
    "500": _error("The job failed, or something went wrong on our side."),
    "504": _error("The job is not done in time, and goes on: the message names it.", "Location", "Retry-After"),
}
MODELS_RESPONSES: ResponseDict = {"200": as_json(ModelList, "The models.")}
