"""What the routes of this room answer instead of doing what was asked."""

from typing import ClassVar

from api.errors import RequestError


class WebhookNotFound(RequestError):
    """No endpoint has this id."""

    code: ClassVar[str] = "webhook_not_found"
    status: ClassVar[int] = 404


class DeliveryNotFound(RequestError):
    """No delivery has this id."""

    code: ClassVar[str] = "delivery_not_found"
    status: ClassVar[int] = 404


class TooManyWebhooks(RequestError):
    """The key has registered as many endpoints as VFQ_WEBHOOK_MAX_ENDPOINTS."""

    code: ClassVar[str] = "too_many_webhooks"
    status: ClassVar[int] = 409


class WebhookAway(RequestError):
    """The delivery's receiver was deleted, or is disabled."""

    code: ClassVar[str] = "webhook_away"
    status: ClassVar[int] = 409


class TooManyTests(RequestError):
    """Other tests of receivers are under way."""

    code: ClassVar[str] = "too_many_tests"
    status: ClassVar[int] = 429
