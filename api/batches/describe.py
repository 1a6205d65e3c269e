"""The OpenAPI document: what the routes of batches cannot tell of themselves."""

from typing import Any

from flask_openapi3.models.tag import Tag
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel, Field

from api.batches.schemas import BatchHead, BatchItemRequest, BatchPage, BatchRequest, BatchView, ItemPage, ItemsRequest
from api.describe import DOWN, Mode, as_json, as_problem, reference
from api.webhooks.schemas import DeliveryList
from shared.batches.model import Outcome

BATCHES = Tag(name="Batches", description="Many recordings at once.")


class BatchForm(BatchHead):
    """A list of items as a file, and what holds for all of them."""

    file: str = Field(json_schema_extra={"format": "binary"}, description="JSONL, with a file name: an item a line.")


#: What the descriptions refer to.
MODELS: tuple[tuple[type[BaseModel], Mode], ...] = (
    (BatchView, "serialization"),
    (BatchPage, "serialization"),
    (ItemPage, "serialization"),
    (Outcome, "serialization"),
    (BatchRequest, "validation"),
    (BatchItemRequest, "validation"),
    (ItemsRequest, "validation"),
    (BatchForm, "validation"),
)

_LINES = {"schema": reference(BatchItemRequest), "example": {"custom_id": "A 12", "input": {"key": "incoming/a.wav"}}}
_NO_BATCH = as_problem("`batch_not_found`.")
_BODY_ERRORS: ResponseDict = {
    "400": as_problem("`invalid_json`, `malformed_form` or `upload_incomplete`."),
    "413": as_problem("`upload_too_large`, or `form_too_large`."),
    "415": as_problem("`unsupported_media_type`."),
    "503": as_problem("`queue_unavailable`, `storage_unavailable` or `queue_full`: try again.", "Retry-After"),
}
SUBMIT_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": reference(BatchRequest),
            "example": {"items": [_LINES["example"]], "options": {"output": {"format": "flac"}}},
        },
        "application/jsonl": _LINES,
        "multipart/form-data": {
            "schema": reference(BatchForm),
            "encoding": {name: {"contentType": "application/json"} for name in ("options", "metadata")},
        },
    },
}
ITEMS_BODY: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": reference(ItemsRequest)}, "application/jsonl": _LINES},
}
SUBMIT_RESPONSES: ResponseDict = {
    **_BODY_ERRORS,
    "202": as_json(BatchView, "The batch is taken in.", "Location", "Retry-After", "ETag"),
    "422": as_problem(
        "`invalid_batch`: the list as a whole is at fault, `errors` names the lines; `invalid_request`, "
        "`file_missing`, `file_empty`, `input_not_allowed`, `input_missing`, `input_too_large` or `url_refused`."
    ),
    "429": as_problem("`too_many_batches`, or `rate_exceeded`.", "Retry-After"),
}
LIST_RESPONSES: ResponseDict = {
    "200": as_json(BatchPage, "A page of batches.", "Link"),
    "422": as_problem("`invalid_request`: the cursor is wrong."),
    "503": DOWN,
}
READ_RESPONSES: ResponseDict = {
    "200": as_json(BatchView, "The batch.", "ETag", "Retry-After"),
    "304": {"description": "Nothing has changed."},
    "404": _NO_BATCH,
    "503": DOWN,
}
ADD_RESPONSES: ResponseDict = {
    **_BODY_ERRORS,
    "202": as_json(BatchView, "The items are taken in.", "ETag", "Retry-After"),
    "404": _NO_BATCH,
    "409": as_problem("`batch_not_open`; or `being_taken_in`: others are being added, ask again.", "Retry-After"),
    "422": as_problem("`invalid_batch`: `errors` names the items."),
}
CLOSE_RESPONSES: ResponseDict = {
    "202": as_json(BatchView, "No more items come.", "ETag", "Retry-After"),
    "404": _NO_BATCH,
    "409": as_problem("`batch_not_open`."),
    "422": as_problem("`invalid_batch`: it has no items."),
    "503": DOWN,
}
ITEMS_RESPONSES: ResponseDict = {
    "200": as_json(ItemPage, "A page of items.", "Link"),
    "404": _NO_BATCH,
    "422": as_problem("`invalid_request`: the cursor is wrong."),
    "503": DOWN,
}
CANCEL_RESPONSES: ResponseDict = {
    "202": as_json(BatchView, "The batch will be canceled.", "ETag", "Retry-After"),
    "404": _NO_BATCH,
    "409": as_problem("`batch_over`."),
    "503": DOWN,
}
DELETE_RESPONSES: ResponseDict = {
    "202": as_json(BatchView, "The batch was running: it is being canceled; delete it again when it is over."),
    "204": {"description": "The batch and its manifests are gone."},
    "404": _NO_BATCH,
    "503": DOWN,
}
MANIFEST_RESPONSES: ResponseDict = {
    "200": {"description": "An outcome a line.", "content": {"application/jsonl": {"schema": reference(Outcome)}}},
    "404": _NO_BATCH,
    "409": as_problem("`batch_not_finished`.", "Retry-After"),
    "503": DOWN,
}
DELIVERIES_RESPONSES: ResponseDict = {
    "200": as_json(DeliveryList, "The deliveries."),
    "404": _NO_BATCH,
    "503": DOWN,
}
