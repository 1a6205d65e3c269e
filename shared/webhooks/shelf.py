"""Endpoints and secrets in storage: an object each, so that they outlast Redis."""

from collections.abc import Iterator
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import ObjectMissing, StorageError
from shared.storage import ObjectStore
from shared.webhooks.events import Event
from shared.webhooks.secrets import Secrets

_ENDPOINTS = "access/webhooks/endpoints/"
_SECRETS = "access/webhooks/secrets/"

_Kept = TypeVar("_Kept", bound=BaseModel)


class Endpoint(BaseModel):
    """A receiver that an owner has registered."""

    model_config = ConfigDict(frozen=True)

    id: str
    owner: str
    url: str = Field(repr=False, description="May hold what is secret.")
    events: tuple[Event, ...]
    description: str = ""
    enabled: bool = True
    disabled_reason: str | None = Field(None, description="`gone`: it answered 410.")
    created_at: float
    revision: int = Field(1, description="Grows with each change.")
    secrets: Secrets


class Shelf:
    """What is kept of webhooks.

    Raises:
        StorageError: from any method, if storage cannot be used, or holds what cannot be read.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def endpoint(self, owner: str, endpoint_id: str) -> Endpoint | None:
        """Read an endpoint of an owner."""
        return self._read(_endpoint_key(owner, endpoint_id), Endpoint)

    def endpoints(self, owner: str) -> list[Endpoint]:
        """Read all endpoints of an owner, oldest first."""
        found = list(self._endpoints_under(f"{_ENDPOINTS}{owner}/"))
        return sorted(found, key=lambda one: (one.created_at, one.id))

    def all_endpoints(self) -> Iterator[Endpoint]:
        """Read the endpoints of everyone."""
        return self._endpoints_under(_ENDPOINTS)

    def owner_of(self, endpoint_id: str) -> str | None:
        """Find whose an endpoint is, among all."""
        for info in self._store.list(_ENDPOINTS):
            owner, _, name = info.key.removeprefix(_ENDPOINTS).partition("/")
            if name == f"{endpoint_id}.json":
                return owner
        return None

    def put_endpoint(self, endpoint: Endpoint) -> None:
        """Write an endpoint."""
        self._write(_endpoint_key(endpoint.owner, endpoint.id), endpoint)

    def delete_endpoint(self, endpoint: Endpoint) -> None:
        """Forget one."""
        self._store.delete(_endpoint_key(endpoint.owner, endpoint.id))

    def secrets(self, owner: str) -> Secrets | None:
        """Read the secrets of an owner's jobs' own hooks."""
        return self._read(f"{_SECRETS}{owner}.json", Secrets)

    def put_secrets(self, owner: str, secrets: Secrets) -> None:
        """Write them."""
        self._write(f"{_SECRETS}{owner}.json", secrets)

    def _endpoints_under(self, prefix: str) -> Iterator[Endpoint]:
        for info in self._store.list(prefix):
            endpoint = self._read(info.key, Endpoint)
            if endpoint is not None:
                yield endpoint

    def _read(self, key: str, model: type[_Kept]) -> _Kept | None:
        try:
            return model.model_validate_json(self._store.read(key))
        except ObjectMissing:
            return None
        except ValidationError:  # its text would show what was read
            raise StorageError(f"The object {key} in storage cannot be read; restore it, or delete it.") from None

    def _write(self, key: str, kept: BaseModel) -> None:
        self._store.put(key, kept.model_dump_json().encode(), content_type="application/json")


def _endpoint_key(owner: str, endpoint_id: str) -> str:
    return f"{_ENDPOINTS}{owner}/{endpoint_id}.json"
