"""Where a delivery goes and what it is signed with: asked of storage, and kept for a moment."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from shared.webhooks.deliveries import HOOK, Delivery
from shared.webhooks.endpoints import Endpoints
from shared.webhooks.secrets import Secrets
from shared.webhooks.shelf import Endpoint

#: What was changed or rotated is used after so long at the latest.
_FRESH_SECONDS = 5.0
_MOST_KEPT = 10_000


@dataclass(frozen=True)
class Target:
    """A receiver; `endpoint`: the one that was registered, none for a job's own hook."""

    url: str = field(repr=False)
    secrets: Secrets
    endpoint: Endpoint | None = None


class Targets:
    """Finds the target of a delivery. Safe to use from several threads.

    Raises:
        QueueUnavailable, StorageError: from `of`, if neither Redis nor storage can tell.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._kept: OrderedDict[tuple[str, str], tuple[float, Endpoint | Secrets]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, delivery: Delivery) -> Target | None:
        """Give it; None if nobody is there for it any more."""
        if delivery.target == HOOK:
            secrets = self._look_up(delivery.owner, HOOK)
            return Target(delivery.url, secrets) if delivery.url and isinstance(secrets, Secrets) else None
        endpoint = self._look_up(delivery.owner, delivery.target)
        if not isinstance(endpoint, Endpoint) or not endpoint.enabled:
            return None
        return Target(endpoint.url, endpoint.secrets, endpoint)

    def forget(self, delivery: Delivery) -> None:
        """Ask anew the next time."""
        with self._lock:
            self._kept.pop((delivery.owner, delivery.target), None)

    def _look_up(self, owner: str, target: str) -> Endpoint | Secrets | None:
        name, now = (owner, target), time.monotonic()
        with self._lock:
            known = self._kept.get(name)
        if known and now < known[0]:
            return known[1]
        found = self._endpoints.secrets(owner) if target == HOOK else self._endpoints.get(owner, target)
        if found is None or (isinstance(found, Endpoint) and not found.enabled):
            return found  # not kept: what is owed once it is enabled again is not to be dropped
        with self._lock:
            self._kept[name] = (now + _FRESH_SECONDS, found)
            self._kept.move_to_end(name)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return found
