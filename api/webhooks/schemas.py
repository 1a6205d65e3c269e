"""Endpoints and deliveries as callers send and see them."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, model_validator

from api.document.exclusive import one_text
from api.jobs.schemas import Time, rfc3339
from shared.webhooks.deliveries import HOOK, Delivery, State
from shared.webhooks.events import ENDPOINT_EVENTS, MOST_URL, Event, shown_url
from shared.webhooks.secrets import Secrets
from shared.webhooks.sending import Sent
from shared.webhooks.shelf import Endpoint

_MOST_DESCRIPTION = 200
Url = Annotated[str, Field(max_length=MOST_URL, description="http or https.")]


def _some_once(events: tuple[Event, ...]) -> tuple[Event, ...]:
    if not events:
        raise ValueError("must name an event, or be left out")
    return tuple(dict.fromkeys(events))


Events = Annotated[
    tuple[Event, ...],
    AfterValidator(_some_once),
    Field(description="What it is told of.", json_schema_extra={"minItems": 1}),
]
Description = Annotated[str, Field(max_length=_MOST_DESCRIPTION, description="For people.")]


class EndpointRequest(BaseModel):
    """A receiver to be registered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Url
    events: Events = ENDPOINT_EVENTS
    description: Description = ""


class EndpointChanges(BaseModel):
    """What is to be changed of it; the rest stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    enabled: StrictBool | None = Field(None, description="One that answered 410 was disabled; `true` enables it again.")

    def given(self) -> dict[str, object]:
        """Give what is to be changed."""
        given: dict[str, object] = self.model_dump(exclude_none=True)
        if self.enabled is not None:
            given["disabled_reason"] = None if self.enabled else "asked"
        return given


class TestRequest(BaseModel):
    """Whom to send a test: an endpoint, or a URL, which gets it signed with the secret of jobs' own webhooks."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=one_text("webhook_id", "url"))

    webhook_id: str | None = Field(None, description="A registered endpoint.")
    url: Url | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.webhook_id is None) == (self.url is None):
            raise ValueError("give either webhook_id or url")
        return self


class EndpointView(BaseModel):
    """A registered receiver."""

    id: str
    url: str = Field(description="As it was given.")
    events: list[Event]
    description: str
    enabled: bool
    disabled_reason: str | None = Field(description="`gone`: it answered 410. `asked`: its owner asked for it.")
    created_at: Time


class EndpointWithSecret(EndpointView):
    """A registered receiver, as its owner sees it."""

    secret: str | None = Field(description="Signs what it is sent; null to whoever is not its owner.")
    previous_secret_until: Time | None = Field(description="Until then the secret before it signs too.")


class EndpointList(BaseModel):
    """Registered receivers, oldest first."""

    webhooks: list[EndpointView]


class SecretView(BaseModel):
    """A secret that signs."""

    secret: str
    created_at: Time
    previous_secret_until: Time | None = Field(description="Until then the secret before it signs too.")


class TestView(BaseModel):
    """What came of a test."""

    delivered: bool = Field(description="The receiver answered 2xx.")
    message_id: str = Field(description="The `webhook-id` that it was sent.")
    outcome: str = Field(description="The status, or a word for why there is none.")
    status: int | None
    milliseconds: int


class AttemptView(BaseModel):
    """One attempt."""

    at: Time
    outcome: str = Field(description="The status, or a word for why there is none.")
    milliseconds: int


class DeliveryView(BaseModel):
    """Something that is told to a receiver."""

    id: str = Field(description="Also the `webhook-id`, the same at each attempt.")
    type: str
    subject: str = Field(description="Id of the job or the batch.")
    sequence: int = Field(description="Grows with each event of the subject.")
    kind: Literal["webhook", "endpoint"] = Field(description="The job's own webhook, or a registered endpoint.")
    webhook_id: str | None = Field(description="The endpoint.")
    url: str | None = Field(description="Of a job's own webhook, without its query.")
    state: State = Field(description="`dropped`: its receiver was deleted, disabled, or answered 410 before.")
    timestamp: Time = Field(description="When it happened.")
    attempts: int
    next_attempt_at: Time | None
    log: list[AttemptView] = Field(description="The last attempts, oldest first.")


class DeliveryList(BaseModel):
    """What is told of a job, in its order."""

    deliveries: list[DeliveryView]


def view_endpoint(endpoint: Endpoint) -> EndpointView:
    """Show an endpoint, without its secret."""
    return EndpointView(
        id=endpoint.id,
        url=endpoint.url,
        events=list(endpoint.events),
        description=endpoint.description,
        enabled=endpoint.enabled,
        disabled_reason=endpoint.disabled_reason,
        created_at=rfc3339(endpoint.created_at),
    )


def view_with_secret(endpoint: Endpoint, owner: str) -> EndpointWithSecret:
    """Show an endpoint to *owner*, with its secret if it is that one's."""
    mine = endpoint.owner == owner
    return EndpointWithSecret(
        **view_endpoint(endpoint).model_dump(),
        secret=endpoint.secrets.current if mine else None,
        previous_secret_until=_previous_until(endpoint.secrets),
    )


def view_secret(secrets: Secrets) -> SecretView:
    """Show a secret to its owner."""
    return SecretView(
        secret=secrets.current,
        created_at=rfc3339(secrets.created_at),
        previous_secret_until=_previous_until(secrets),
    )


def view_test(message_id: str, sent: Sent) -> TestView:
    """Show what came of a test."""
    return TestView(
        delivered=sent.ok,
        message_id=message_id,
        outcome=sent.outcome,
        status=sent.status,
        milliseconds=sent.milliseconds,
    )


def view_delivery(delivery: Delivery) -> DeliveryView:
    """Show a delivery."""
    own = delivery.target == HOOK
    return DeliveryView(
        id=delivery.id,
        type=delivery.type,
        subject=delivery.subject,
        sequence=delivery.sequence,
        kind="webhook" if own else "endpoint",
        webhook_id=None if own else delivery.target,
        url=shown_url(delivery.url) if delivery.url else None,
        state=delivery.state,
        timestamp=rfc3339(delivery.at),
        attempts=delivery.attempts,
        next_attempt_at=None if delivery.next_at is None else rfc3339(delivery.next_at),
        log=[
            AttemptView(at=rfc3339(one.at), outcome=one.outcome, milliseconds=one.milliseconds) for one in delivery.log
        ],
    )


def _previous_until(secrets: Secrets) -> str | None:
    return None if secrets.previous is None else rfc3339(secrets.previous_until)
