"""API keys in storage: an object each, so that they outlast Redis and every process can read them."""

import time
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.access.tokens import Token, new_token
from shared.errors import ObjectMissing
from shared.storage import ObjectStore

Scope = Literal["submit", "read", "admin"]
KEYS_PREFIX = "access/keys/"


class ApiKey(BaseModel):
    """What is kept of a key."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="No secret: also the owner of what is made with the key.")
    name: str = Field(description="For people.")
    hash: str = Field(repr=False, description="sha256 of its text.")
    scopes: tuple[Scope, ...]
    created_at: float
    revoked_at: float | None = None
    submits_per_minute: int | None = Field(None, description="Its own limit instead of the service's.")
    max_open: int | None = Field(None, description="Jobs that are not over at once, instead of the service's.")


class KeyShelf:
    """All keys of a service.

    Raises:
        StorageError: from any method, if storage cannot be used.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def create(
        self,
        name: str,
        scopes: tuple[Scope, ...],
        *,
        submits_per_minute: int | None = None,
        max_open: int | None = None,
    ) -> tuple[ApiKey, Token]:
        """Make a key; its text is not kept, and cannot be shown again."""
        token = new_token()
        key = ApiKey(
            id=token.key_id,
            name=name,
            hash=token.hash,
            scopes=scopes,
            created_at=time.time(),
            submits_per_minute=submits_per_minute,
            max_open=max_open,
        )
        self._write(key)
        return key, token

    def get(self, key_id: str) -> ApiKey | None:
        """Read a key, revoked or not."""
        try:
            return ApiKey.model_validate_json(self._store.read(_key_of(key_id)))
        except (ObjectMissing, ValidationError):
            return None

    def all(self) -> Iterator[ApiKey]:
        """Give all keys, those that were revoked too."""
        for info in self._store.list(KEYS_PREFIX):
            key = self.get(info.key.removeprefix(KEYS_PREFIX).removesuffix(".json"))
            if key is not None:
                yield key

    def any(self) -> bool:
        """Whether a key was ever made."""
        return next(self._store.list(KEYS_PREFIX, limit=1), None) is not None

    def revoke(self, key_id: str) -> ApiKey | None:
        """Let a key open nothing any more; None if there is none of that id."""
        key = self.get(key_id)
        if key is None or key.revoked_at is not None:
            return key
        revoked = key.model_copy(update={"revoked_at": time.time()})
        self._write(revoked)
        return revoked

    def _write(self, key: ApiKey) -> None:
        self._store.put(_key_of(key.id), key.model_dump_json().encode(), content_type="application/json")


def _key_of(key_id: str) -> str:
    return f"{KEYS_PREFIX}{key_id}.json"
