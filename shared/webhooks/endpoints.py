"""Endpoints and secrets as they are made and changed: storage has them, Redis's script is told."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis
from redis.exceptions import LockError
from redis.lock import Lock

from shared.errors import QueueUnavailable
from shared.webhooks.deliveries import Deliveries
from shared.webhooks.events import Event
from shared.webhooks.secrets import Secrets
from shared.webhooks.shelf import Endpoint, Shelf

_HOLD_SECONDS, _WAIT_SECONDS = 10.0, 5.0


class Endpoints:
    """Registered endpoints, and the secrets of owners.

    Raises:
        QueueUnavailable: from any method, if Redis cannot be used.
        StorageError: the same for storage.
    """

    def __init__(
        self,
        shelf: Shelf,
        deliveries: Deliveries,
        client: redis.Redis,
        *,
        prefix: str = "vfq:",
        grace: float = 86_400.0,
    ) -> None:
        """Change what is on the *shelf*, one at a time; a secret is signed with for *grace* seconds after its end."""
        self._shelf = shelf
        self._deliveries = deliveries
        self._redis = client
        self._prefix = prefix
        self._grace = grace

    def create(self, owner: str, *, url: str, events: tuple[Event, ...], description: str = "") -> Endpoint:
        """Register a receiver; it gets what happens from now on."""
        endpoint = Endpoint(
            id=f"we{secrets.token_hex(8)}",
            owner=owner,
            url=url,
            events=events,
            description=description,
            created_at=time.time(),
            secrets=Secrets.new(),
        )
        self._shelf.put_endpoint(endpoint)
        try:
            self._tell(endpoint)
        except QueueUnavailable:
            self._shelf.delete_endpoint(endpoint)
            raise
        return endpoint

    def get(self, owner: str, endpoint_id: str) -> Endpoint | None:
        """Read one of an owner's."""
        return self._shelf.endpoint(owner, endpoint_id)

    def find(self, endpoint_id: str) -> Endpoint | None:
        """Read one, whosever it is."""
        owner = self._shelf.owner_of(endpoint_id)
        return None if owner is None else self._shelf.endpoint(owner, endpoint_id)

    def of(self, owner: str) -> list[Endpoint]:
        """Read all of an owner's, oldest first."""
        return self._shelf.endpoints(owner)

    def change(self, endpoint: Endpoint, changes: dict[str, Any]) -> Endpoint | None:
        """Change some fields; None if it is not there any more."""
        with self._alone(endpoint.id):
            current = self._shelf.endpoint(endpoint.owner, endpoint.id)
            return None if current is None else self._put(current, changes)

    def rotate(self, endpoint: Endpoint) -> Endpoint | None:
        """Give an endpoint a new secret; None if it is not there any more."""
        with self._alone(endpoint.id):
            current = self._shelf.endpoint(endpoint.owner, endpoint.id)
            if current is None:
                return None
            return self._put(current, {"secrets": current.secrets.rotated(grace=self._grace)})

    def disable(self, endpoint: Endpoint, reason: str) -> None:
        """Send an endpoint nothing more until its owner enables it."""
        self.change(endpoint, {"enabled": False, "disabled_reason": reason})

    def delete(self, endpoint: Endpoint) -> None:
        """Forget an endpoint."""
        with self._alone(endpoint.id):
            self._deliveries.delist(endpoint.owner, endpoint.id)
            self._shelf.delete_endpoint(endpoint)

    def secrets(self, owner: str) -> Secrets:
        """Give the secrets of an owner's jobs' own hooks; the first time they are made."""
        found = self._shelf.secrets(owner)
        if found is not None:
            return found
        with self._alone(owner):
            found = self._shelf.secrets(owner)
            if found is None:
                found = Secrets.new()
                self._shelf.put_secrets(owner, found)
            return found

    def rotate_secrets(self, owner: str) -> Secrets:
        """Give an owner a new secret."""
        current = self.secrets(owner)
        with self._alone(owner):
            rotated = (self._shelf.secrets(owner) or current).rotated(grace=self._grace)
            self._shelf.put_secrets(owner, rotated)
            return rotated

    def reload(self) -> int:
        """Tell Redis of all endpoints in storage, as after it was lost; gives how many."""
        count = 0
        for endpoint in self._shelf.all_endpoints():
            self._tell(endpoint)
            count += 1
        self._deliveries.note_endpoints_known()
        return count

    def ensure_known(self) -> None:
        """Tell Redis of them if it does not know."""
        if not self._deliveries.endpoints_known():
            self.reload()

    def _put(self, current: Endpoint, changes: dict[str, Any]) -> Endpoint:
        changed = current.model_copy(update={**changes, "revision": current.revision + 1})
        self._shelf.put_endpoint(changed)
        self._tell(changed)
        return changed

    def _tell(self, endpoint: Endpoint) -> None:
        if endpoint.enabled:
            self._deliveries.enlist(
                endpoint.owner, endpoint.id, revision=endpoint.revision, url=endpoint.url, events=endpoint.events
            )
        else:
            self._deliveries.delist(endpoint.owner, endpoint.id)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Be the only one who changes something: a change that undoes another could undo a rotated secret."""
        lock = Lock(self._redis, f"{self._prefix}changing:{name}", timeout=_HOLD_SECONDS, thread_local=False)
        try:
            mine = lock.acquire(blocking_timeout=_WAIT_SECONDS)
        except redis.RedisError as error:
            raise QueueUnavailable(f"Redis cannot be used right now ({type(error).__name__})") from error
        if not mine:
            raise QueueUnavailable("Another request is changing this; try again.")
        try:
            yield
        finally:
            with suppress(redis.RedisError, LockError):
                lock.release()
