"""What the OpenAPI document says of webhooks."""

import re
from typing import Any

from flask_openapi3.models.tag import Tag
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel

from api.describe import ANY_ERROR, DOWN, Mode, as_json, as_problem, reference
from api.webhooks.schemas import (
    DeliveryList,
    DeliveryView,
    EndpointChanges,
    EndpointList,
    EndpointRequest,
    EndpointWithSecret,
    SecretView,
    TestRequest,
    TestView,
)

__all__ = ["ANY_ERROR"]

WEBHOOKS = Tag(name="Webhooks", description="Be called when a job is over (Standard Webhooks).")
WEBHOOK_ID = re.compile(r"we[0-9a-f]{16}")

#: What the document is to define, and whether it is sent or answered.
MODELS: tuple[tuple[type[BaseModel], Mode], ...] = (
    (EndpointRequest, "validation"),
    (EndpointChanges, "validation"),
    (TestRequest, "validation"),
    (EndpointWithSecret, "serialization"),
    (EndpointList, "serialization"),
    (SecretView, "serialization"),
    (TestView, "serialization"),
    (DeliveryList, "serialization"),
    (DeliveryView, "serialization"),
)


def _body(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": reference(model), "example": example}}}


_NO_WEBHOOK = as_problem("`webhook_not_found`.")
_BAD_BODY: ResponseDict = {
    "400": as_problem("`invalid_json` or `upload_incomplete`."),
    "413": as_problem("`form_too_large`."),
    "403": as_problem("`url_refused`: the URL is none that is called; or `scope_missing`: the key may not do this."),
    "422": as_problem("`invalid_request`."),
}

CREATE_BODY = _body(EndpointRequest, {"url": "https://example.org/hooks/voicefixer"})
CHANGE_BODY = _body(EndpointChanges, {"events": ["job.succeeded", "job.failed"]})
TEST_BODY = _body(TestRequest, {"url": "https://example.org/hooks/voicefixer"})
CREATE_RESPONSES: ResponseDict = {
    **_BAD_BODY,
    "201": as_json(EndpointWithSecret, "The endpoint, and its secret.", "Location"),
    "409": as_problem("`too_many_webhooks`."),
    "503": DOWN,
}
LIST_RESPONSES: ResponseDict = {"200": as_json(EndpointList, "The endpoints."), "503": DOWN}
READ_RESPONSES: ResponseDict = {
    "200": as_json(EndpointWithSecret, "The endpoint."),
    "404": _NO_WEBHOOK,
    "503": DOWN,
}
CHANGE_RESPONSES: ResponseDict = {**_BAD_BODY, **READ_RESPONSES}
DELETE_RESPONSES: ResponseDict = {
    "204": {"description": "The endpoint is gone."},
    "404": _NO_WEBHOOK,
    "503": DOWN,
}
SECRET_RESPONSES: ResponseDict = {"200": as_json(SecretView, "The secret."), "503": DOWN}
TEST_RESPONSES: ResponseDict = {
    **_BAD_BODY,
    "200": as_json(TestView, "What came of it."),
    "404": _NO_WEBHOOK,
    "429": as_problem("`too_many_tests`: try again; or `rate_exceeded`.", "Retry-After"),
    "503": DOWN,
}
DELIVERIES_RESPONSES: ResponseDict = {
    "200": as_json(DeliveryList, "The deliveries."),
    "404": as_problem("`job_not_found`, or `malformed_job_id`."),
    "503": DOWN,
}
REDELIVER_RESPONSES: ResponseDict = {
    "202": as_json(DeliveryView, "It is sent again."),
    "404": as_problem("`delivery_not_found`."),
    "409": as_problem("`webhook_away`: its endpoint was deleted, or is disabled."),
    "503": DOWN,
}
