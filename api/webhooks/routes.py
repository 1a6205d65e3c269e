"""The routes under `/v1/webhooks` and `/v1/deliveries`, and the deliveries of a job."""

import json
import uuid
from typing import TypeVar

from flask import Response, jsonify, request, url_for
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, Field

from api.caller import caller
from api.http.bodies import json_body
from api.jobs.lookup import JobPath, existing
from api.jobs.options import validated
from api.services import services
from api.webhooks import describe
from api.webhooks.errors import DeliveryNotFound, TooManyTests, TooManyWebhooks, WebhookAway, WebhookNotFound
from api.webhooks.guard import refuse_bad_url
from api.webhooks.schemas import (
    EndpointChanges,
    EndpointRequest,
    TestRequest,
    view_delivery,
    view_endpoint,
    view_secret,
    view_test,
    view_with_secret,
)
from shared.webhooks.deliveries import HOOK
from shared.webhooks.events import TEST_EVENT
from shared.webhooks.message import body_of, signed
from shared.webhooks.sending import send
from shared.webhooks.shelf import Endpoint

webhooks = APIBlueprint("webhooks", __name__, abp_tags=[describe.WEBHOOKS], abp_responses=describe.ANY_ERROR)

_Body = TypeVar("_Body", bound=BaseModel)


class WebhookPath(BaseModel):
    """The part of an address that names an endpoint."""

    webhook_id: str = Field(description="Id of the endpoint.")


class DeliveryPath(BaseModel):
    """The part of an address that names a delivery."""

    delivery_id: str = Field(description="Id of the delivery, its `webhook-id`.")


@webhooks.post(
    "/v1/webhooks",
    summary="Register an endpoint",
    openapi_extensions={"requestBody": describe.CREATE_BODY},
    responses=describe.CREATE_RESPONSES,
)
def create() -> Response:
    """Let a receiver be told what becomes of all jobs and batches of this key, from now on.

    The answer has the secret that signs what it is sent.
    """
    asked = _asked(EndpointRequest)
    to, owner = services(), caller().owner
    refuse_bad_url(asked.url, to.settings, "#/url")
    most = to.settings.webhook_max_endpoints
    if len(to.webhooks.endpoints.of(owner)) >= most:
        raise TooManyWebhooks(f"This key has registered {most} endpoints, as many as it may; delete one first.")
    made = to.webhooks.endpoints.create(owner, url=asked.url, events=asked.events, description=asked.description)
    response = _answer(view_with_secret(made, owner), 201)
    response.headers["Location"] = url_for("webhooks.read", webhook_id=made.id)
    return response


@webhooks.get("/v1/webhooks", summary="List endpoints", responses=describe.LIST_RESPONSES)
def listing() -> Response:
    """List this key's endpoints, without their secrets."""
    found = services().webhooks.endpoints.of(caller().owner)
    return _json(webhooks=[view_endpoint(one).model_dump(mode="json") for one in found])


@webhooks.get("/v1/webhooks/<hook:webhook_id>", summary="Ask for an endpoint", responses=describe.READ_RESPONSES)
def read(path: WebhookPath) -> Response:
    """Show an endpoint, and to its owner its secret."""
    return _answer(view_with_secret(_existing(path.webhook_id), caller().owner))


@webhooks.patch(
    "/v1/webhooks/<hook:webhook_id>",
    summary="Change an endpoint",
    openapi_extensions={"requestBody": describe.CHANGE_BODY},
    responses=describe.CHANGE_RESPONSES,
)
def change(path: WebhookPath) -> Response:
    """Change some of it; deliveries under way may take five seconds to follow."""
    asked = _asked(EndpointChanges)
    to = services()
    endpoint = _existing(path.webhook_id)
    refuse_bad_url(asked.url, to.settings, "#/url")
    changed = to.webhooks.endpoints.change(endpoint, asked.given())
    return _answer(view_with_secret(_there(changed), caller().owner))


@webhooks.delete("/v1/webhooks/<hook:webhook_id>", summary="Delete an endpoint", responses=describe.DELETE_RESPONSES)
def delete(path: WebhookPath) -> Response:
    """Tell it nothing more; what it is owed still is dropped."""
    services().webhooks.endpoints.delete(_existing(path.webhook_id))
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


@webhooks.post(
    "/v1/webhooks/<hook:webhook_id>/rotate",
    summary="Change an endpoint's secret",
    responses=describe.READ_RESPONSES,
)
def rotate(path: WebhookPath) -> Response:
    """Make a new secret. Until `previous_secret_until` each message is signed with both."""
    rotated = services().webhooks.endpoints.rotate(_existing(path.webhook_id))
    return _answer(view_with_secret(_there(rotated), caller().owner))


@webhooks.get("/v1/webhooks/secret", summary="The secret of jobs' own webhooks", responses=describe.SECRET_RESPONSES)
def secret() -> Response:
    """Show what signs the messages to `webhook` of this key's jobs and batches."""
    return _answer(view_secret(services().webhooks.endpoints.secrets(caller().owner)))


@webhooks.post("/v1/webhooks/secret/rotate", summary="Change that secret", responses=describe.SECRET_RESPONSES)
def rotate_secret() -> Response:
    """Make a new one. Until `previous_secret_until` each message is signed with both."""
    return _answer(view_secret(services().webhooks.endpoints.rotate_secrets(caller().owner)))


@webhooks.post(
    "/v1/webhooks/test",
    summary="Send a test",
    openapi_extensions={"requestBody": describe.TEST_BODY},
    responses=describe.TEST_RESPONSES,
)
def test() -> Response:
    """Send a signed `webhook.test` now, once, and tell what came back."""
    asked = _asked(TestRequest)
    to, owner = services(), caller().owner
    if asked.webhook_id is not None:
        endpoint = _existing(asked.webhook_id)
        url, secrets = endpoint.url, endpoint.secrets
    else:
        assert asked.url is not None  # the model sees to it
        url, secrets = asked.url, to.webhooks.endpoints.secrets(owner)
    refuse_bad_url(url, to.settings, "#/webhook_id" if asked.webhook_id else "#/url")
    message_id = f"msg_test_{uuid.uuid4().hex}"
    now = to.records.now()
    body = body_of(TEST_EVENT, now, {"id": asked.webhook_id, "sequence": 1})
    if not to.webhooks.tests.acquire(blocking=False):
        raise TooManyTests("Other tests are under way; try again in a moment.", headers={"Retry-After": "5"})
    try:
        sent = send(to.webhooks.post, url, signed(message_id, body, secrets, now=now))
    finally:
        to.webhooks.tests.release()
    return _answer(view_test(message_id, sent))


@webhooks.get("/v1/jobs/<job_id>/deliveries", summary="What is told of a job", responses=describe.DELIVERIES_RESPONSES)
def deliveries(path: JobPath) -> Response:
    """List what receivers were and will be told of a job, with each attempt."""
    job_id = existing(path.job_id).manifest.id
    found = services().webhooks.deliveries.of(job_id)
    return _json(deliveries=[view_delivery(one).model_dump(mode="json") for one in found])


@webhooks.post(
    "/v1/deliveries/<delivery_id>/redeliver", summary="Send a delivery again", responses=describe.REDELIVER_RESPONSES
)
def redeliver(path: DeliveryPath) -> Response:
    """Send it again now, under the same `webhook-id`, and with all its attempts if it fails."""
    known = services().webhooks
    found = known.deliveries.get(path.delivery_id)
    if found is None or not caller().sees(found.owner):
        raise _no_delivery()
    if found.target != HOOK:
        endpoint = known.endpoints.get(found.owner, found.target)
        if endpoint is None or not endpoint.enabled:
            raise WebhookAway("Its endpoint was deleted or is disabled; PATCH it with enabled: true first.")
    if not known.deliveries.redeliver(found.id) or (again := known.deliveries.get(found.id)) is None:
        raise _no_delivery()
    return _answer(view_delivery(again), 202)


def _asked(model: type[_Body]) -> _Body:
    return validated(json_body(request.stream), model=model)


def _existing(webhook_id: str) -> Endpoint:
    """Read an endpoint that the caller may see."""
    asking, endpoints = caller(), services().webhooks.endpoints
    if not describe.WEBHOOK_ID.fullmatch(webhook_id):
        raise _no_webhook()
    found = endpoints.get(asking.owner, webhook_id)
    if found is None and "admin" in asking.scopes:
        found = endpoints.find(webhook_id)
    return _there(found)


def _there(endpoint: Endpoint | None) -> Endpoint:
    if endpoint is None:
        raise _no_webhook()
    return endpoint


def _no_webhook() -> WebhookNotFound:
    return WebhookNotFound("There is no endpoint of this id; it may have been deleted.")


def _no_delivery() -> DeliveryNotFound:
    return DeliveryNotFound("There is no delivery of this id; those that are over are forgotten after some days.")


def _answer(shown: BaseModel, status: int = 200) -> Response:
    response = _json(**json.loads(shown.model_dump_json()))
    response.status_code = status
    return response


def _json(**members: object) -> Response:
    response = jsonify(members)
    response.headers["Cache-Control"] = "no-store"
    return response
