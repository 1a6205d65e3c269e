"""The OpenAPI document: what the routes of batches cannot tell of themselves."""

from typing import Any

from flask_openapi3.models.tag import Tag
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel

from api.batches.schemas import BatchItemRequest, BatchPage, BatchRequest, BatchView, ItemPage, ItemsRequest
from api.describe import DOWN, Mode, as_json, as_problem, headers, reference
from api.webhooks.schemas import DeliveryList
from shared.batches.model import Outcome

BATCHES = Tag(name="Batches", description="Many recordings at once.")


#: What the descriptions refer to.
MODELS: tuple[tuple[type[BaseModel], Mode], ...] = (
    (BatchView, "serialization"),
    (BatchPage, "serialization"),
    (ItemPage, "serialization"),
    (Outcome, "serialization"),
    (BatchRequest, "validation"),
    (BatchItemRequest, "validation"),
    (ItemsRequest, "validation"),
)

_EXAMPLE = {"custom_id": "A 12", "input": {"key": "incoming/a.wav"}}
#: No example: a client that makes requests of examples would take it for the whole body.
_LINES = {"schema": reference(BatchItemRequest)}
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
            "example": {"items": [_EXAMPLE], "options": {"output": {"format": "flac"}}},
        },
        "application/jsonl": _LINES,
    },
}
ITEMS_BODY: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": reference(ItemsRequest)}, "application/jsonl": _LINES},
}
SUBMIT_RESPONSES: ResponseDict = {
    **_BODY_ERRORS,
    "202": as_json(BatchView, "The batch is taken in.", "Location", "Retry-After", "ETag", "Idempotent-Replayed"),
    "400": as_problem("`invalid_json`, `malformed_form`, `upload_incomplete` or `idempotency_key_invalid`."),
    "403": as_problem("`input_not_allowed` or `url_refused`; or `scope_missing`: the key may not do this."),
    "404": as_problem("`input_missing`: nothing is there under the prefix or the key."),
    "409": as_problem(
        "`custom_id_taken`: a name stands twice; or `being_taken_in`: the same request is being served.", "Retry-After"
    ),
    "422": as_problem(
        "`invalid_batch`: the list as a whole is at fault, `errors` names the lines; `invalid_request`, "
        "`file_missing`, `file_empty`, `input_too_large` or `idempotency_key_reused`."
    ),
    "429": as_problem("`too_many_batches`, or `rate_exceeded`.", "Retry-After"),
}
LIST_RESPONSES: ResponseDict = {
    "200": as_json(BatchPage, "A page of batches.", "Link"),
    "404": as_problem("`page_not_found`: the cursor is none."),
    "422": as_problem("`invalid_request`."),
    "503": DOWN,
}
READ_RESPONSES: ResponseDict = {
    "200": as_json(BatchView, "The batch.", "ETag", "Retry-After"),
    "304": {"description": "Nothing has changed.", **headers("ETag", "Retry-After")},
    "404": _NO_BATCH,
    "503": DOWN,
}
ADD_RESPONSES: ResponseDict = {
    **_BODY_ERRORS,
    "202": as_json(BatchView, "The items are taken in.", "ETag", "Retry-After", "Idempotent-Replayed"),
    "400": as_problem("`invalid_json`, `upload_incomplete` or `idempotency_key_invalid`."),
    "404": _NO_BATCH,
    "409": as_problem(
        "`batch_not_open`; `custom_id_taken`: another item has the name; or `being_taken_in`: others are being added, "
        "ask again.",
        "Retry-After",
    ),
    "422": as_problem("`invalid_batch`: `errors` names the items; `invalid_request`, or `idempotency_key_reused`."),
}
CLOSE_RESPONSES: ResponseDict = {
    "202": as_json(BatchView, "No more items come.", "ETag", "Retry-After"),
    "404": _NO_BATCH,
    "409": as_problem("`batch_not_open`, or `batch_empty`: it has no items."),
    "503": DOWN,
}
ITEMS_RESPONSES: ResponseDict = {
    "200": as_json(ItemPage, "A page of items.", "Link"),
    "404": as_problem("`batch_not_found`; or `page_not_found`: the cursor is none."),
    "422": as_problem("`invalid_request`."),
    "503": DOWN,
}
CANCEL_RESPONSES: ResponseDict = {
    "202": as_json(BatchView, "The batch will be canceled.", "ETag", "Retry-After"),
    "404": _NO_BATCH,
    "409": as_problem("`batch_over`."),
    "503": DOWN,
}
DELETE_RESPONSES: ResponseDict = {
    "202": as_json(
        BatchView,
        "The batch has not stopped yet; delete it again when it is over.",
        "ETag",
        "Retry-After",
    ),
    "204": {"description": "The batch and its manifests are gone."},
    "404": _NO_BATCH,
    "503": DOWN,
}
MANIFEST_RESPONSES: ResponseDict = {
    "200": {
        "description": "An outcome a line.",
        "content": {"application/jsonl": {"schema": reference(Outcome)}},
        **headers("ETag", "Content-Length", "Content-Disposition"),
    },
    "404": _NO_BATCH,
    "409": as_problem("`batch_not_finished`.", "Retry-After"),
    "503": DOWN,
}
DELIVERIES_RESPONSES: ResponseDict = {
    "200": as_json(DeliveryList, "The deliveries."),
    "404": _NO_BATCH,
    "503": DOWN,
}
