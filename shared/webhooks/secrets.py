"""The secrets that webhooks are signed with: `whsec_` and 32 random bytes; two at once while they are being changed."""

import base64
import secrets
import time
from datetime import UTC, datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field
from standardwebhooks import Webhook

_BYTES = 32


class Secrets(BaseModel):
    """The secret that counts, and the one before it for as long as receivers may still know no other."""

    model_config = ConfigDict(frozen=True)

    current: str = Field(repr=False)
    created_at: float
    previous: str | None = Field(None, repr=False)
    previous_until: float = 0.0

    @classmethod
    def new(cls) -> Self:
        """Make the first."""
        return cls(current=_make(), created_at=time.time())

    def rotated(self, *, grace: float) -> Self:
        """Make the next; the one that counted until now is signed with for *grace* seconds more."""
        now = time.time()
        return type(self)(
            current=_make(), created_at=now, previous=self.current if grace else None, previous_until=now + grace
        )

    def signature(self, message_id: str, timestamp: int, body: str) -> str:
        """Sign a message, with each secret that is in force at this time (seconds since 1970)."""
        # In UTC: the library takes any other time for UTC too, and signs what nobody can verify.
        moment = datetime.fromtimestamp(timestamp, UTC)
        return " ".join(Webhook(secret).sign(message_id, moment, body) for secret in self._in_force(timestamp))

    def _in_force(self, now: float) -> tuple[str, ...]:
        if self.previous is not None and now < self.previous_until:
            return (self.current, self.previous)
        return (self.current,)


def _make() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_BYTES)).decode()
