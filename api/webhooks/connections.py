"""What the routes of this room work with."""

import threading
from dataclasses import dataclass, field

import redis

from shared.connections import open_deliveries, open_endpoints, open_post
from shared.settings import Settings
from shared.storage import ObjectStore
from shared.webhooks.deliveries import Deliveries
from shared.webhooks.endpoints import Endpoints
from shared.webhooks.sending import Post

#: Tests that hold a thread of the API while a receiver thinks.
_TESTS_AT_ONCE = 2


@dataclass(frozen=True)
class Webhooks:
    """
    What is known of webhooks, and a way to send one.

    Attributes:
        deliveries: what is owed
        endpoints: registered receivers and secrets
        post: sends a test
        tests: held by each that is under way

    """

    deliveries: Deliveries
    endpoints: Endpoints
    post: Post
    tests: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(_TESTS_AT_ONCE))


def open_webhooks(settings: Settings, store: ObjectStore, client: redis.Redis) -> Webhooks:
    """Open it. Nothing is sent yet."""
    return Webhooks(
        open_deliveries(settings, client=client), open_endpoints(settings, store, client), open_post(settings)
    )
