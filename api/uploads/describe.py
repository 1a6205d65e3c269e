"""What the OpenAPI document says of uploads."""

from typing import Any

from flask_openapi3.models.schema import Schema
from flask_openapi3.models.tag import Tag
from flask_openapi3.types import ResponseDict

from api import describe
from api.describe import Mode, as_json, as_problem, reference, schemas
from api.uploads.schemas import CompleteRequest, PartPage, UploadRequest, UploadView

UPLOADS = Tag(name="Uploads", description="Send recordings before their jobs, large ones in parts.")

_NO_UPLOAD = as_problem("`upload_not_found`.")
_BYTES = {"type": "string", "format": "binary"}

BEGIN_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": reference(UploadRequest),
            "example": {"filename": "tape.wav", "bytes": 502168, "content_type": "audio/wav"},
        }
    },
}
COMPLETE_BODY = {"content": {"application/json": {"schema": reference(CompleteRequest), "example": {}}}}
BYTES_BODY = {"required": True, "content": {"application/octet-stream": {"schema": _BYTES}}}

BEGIN_RESPONSES: ResponseDict = {
    "201": as_json(UploadView, "The upload, and where to send it.", "Location"),
    "400": as_problem("`invalid_json`."),
    "413": as_problem("`form_too_large`."),
    "415": as_problem("`unsupported_media_type`."),
    "422": as_problem("`invalid_request`."),
    "429": as_problem("`too_many_uploads`, or `rate_exceeded`.", "Retry-After"),
    "503": as_problem("`queue_unavailable`, `storage_unavailable` or `queue_full`: try again.", "Retry-After"),
}
READ_RESPONSES: ResponseDict = {
    "200": as_json(UploadView, "The upload."),
    "404": _NO_UPLOAD,
    "503": describe.DOWN,
}
PARTS_RESPONSES: ResponseDict = {
    "200": as_json(PartPage, "A page of parts.", "Link"),
    "404": _NO_UPLOAD,
    "409": as_problem("`upload_completed`."),
    "422": as_problem("`invalid_request`."),
    "503": describe.DOWN,
}
COMPLETE_RESPONSES: ResponseDict = {
    "200": as_json(UploadView, "The upload is completed."),
    "400": as_problem("`invalid_json`."),
    "404": _NO_UPLOAD,
    "409": as_problem(
        "`parts_missing`; `upload_mismatch`: what has arrived is not what was announced, or named; "
        "or `being_taken_in`: another request completes it, ask again.",
        "Retry-After",
    ),
    "413": as_problem("`form_too_large`."),
    "422": as_problem("`invalid_request`."),
    "503": describe.DOWN,
}
DELETE_RESPONSES: ResponseDict = {
    "204": {"description": "The upload is gone."},
    "404": _NO_UPLOAD,
    "503": describe.DOWN,
}
PUT_RESPONSES: ResponseDict = {
    "200": {"description": "The bytes are in storage.", **describe.headers("ETag")},
    "400": as_problem("`upload_incomplete`: send it again."),
    "403": as_problem("`signature_invalid` or `signature_expired`: ask for the URL again."),
    "404": _NO_UPLOAD,
    "409": as_problem("`upload_completed`; or `upload_mismatch`: it has another size or sha256 than was announced."),
    "422": as_problem("`invalid_request`: the number is none."),
    "503": describe.DOWN,
}


def components() -> dict[str, Schema]:
    """Give the schemas that the descriptions refer to."""
    models: tuple[tuple[Any, Mode], ...] = (
        (UploadRequest, "validation"),
        (CompleteRequest, "validation"),
        (UploadView, "serialization"),
        (PartPage, "serialization"),
    )
    return schemas(*models)
