"""How messages leave the house."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from shared.errors import InvalidRequest
from shared.settings import Settings
from shared.webhooks.sending import Post


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]


def open_post(settings: Settings) -> Post:
    """Open the client."""
    client = httpx.Client(timeout=settings.webhook_timeout_seconds, trust_env=False, follow_redirects=False)

    def post(url: str, body: bytes, headers: Mapping[str, str]) -> _Answer:
        answer = client.post(url, content=body, headers=dict(headers))
        return _Answer(answer.status_code, answer.headers)

    return post


def check_receiver(url: str, settings: Settings) -> None:
    """Refuse a URL that may not be called.

    Raises:
        InvalidRequest: if it may not.
    """
    if not url.startswith(("http://", "https://")):
        raise InvalidRequest("must be an http or https URL")
