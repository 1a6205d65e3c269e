"""`Idempotency-Key` (IETF draft): a request that is sent again is served once, and answered as it was."""

import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis
from flask import Response, request
from pydantic import BaseModel, Field
from redis.client import NEVER_DECODE

from api.caller import caller
from api.errors import IdempotencyKeyInvalid, IdempotencyKeyReused
from api.http.access import body_was_read
from api.jobs.sent import Sent
from api.services import Services, services
from api.taking import derived_id, taking
from shared import log
from shared.errors import QueueUnavailable

#: An answer is kept for more than the day that is promised.
KEEP_SECONDS = 25 * 3600
ONCE = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"

_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_HEADERS = ("Content-Type", "Location", "ETag", "Retry-After", "Cache-Control", "Link")
_log = log.logger("api")


class OnceHeader(BaseModel):
    """The header of routes that do a request once."""

    idempotency_key: str | None = Field(
        None,
        alias=ONCE,
        description="1 to 255 printable characters. The same request under the same key is served once, and answered "
        "again for a day, with `Idempotent-Replayed: true`.",
        json_schema_extra={"pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},  # spaces around a header are not of it
    )


def once(
    key: str | None, serve: Callable[[Sent], Response], *, served: Callable[[Sent], Response | None] = lambda _: None
) -> Response:
    """Serve the request, or give the answer that the same one got before under its key.

    Keys of one caller and one route are told apart from all others. Refusals are not kept: they leave nothing behind.

    Args:
        key: the header Idempotency-Key; None if there is none: then the request is served.
        serve: reads the body from what it is given and makes what was asked, under its `derived_id`.
        served: answers where a request of this key has made its thing, but its answer was not kept, as when the
            process died in between; it must see to it that it was the same request (`see_again`).

    Raises:
        IdempotencyKeyInvalid: if it is none.
        IdempotencyKeyReused: if another request came under it.
        BeingTakenIn: if the same is being served.
        QueueUnavailable: if Redis is down.
        RequestError: whatever *serve* raises.
    """
    if key is None:
        return serve(Sent(request))
    if not _KEY.fullmatch(key):
        raise IdempotencyKeyInvalid("Idempotency-Key must have 1 to 255 printable ASCII characters.")
    # No name that a caller may give to a job has a space.
    name = derived_id(caller().owner, f"{request.endpoint} {key}")
    kept = _Kept(services(), name)
    sent = Sent(request, derived_id=name)
    if answer := _again(kept, sent, served):
        return answer
    with taking(name):
        if answer := _again(kept, sent, served):  # it was ready a moment ago
            return answer
        response = serve(sent)
        if response.status_code < 300:
            sent.read_on(max_bytes=services().settings.max_upload_bytes)
            kept.put(sent.fingerprint(), response)
        return response


def see_again(sent: Sent, fingerprint: str | None) -> None:
    """Read a request whose key came before.

    Raises:
        IdempotencyKeyReused: if it is another one than that of the *fingerprint*.
        RequestError: if its body cannot be read.
    """
    sent.read_on(max_bytes=services().settings.max_upload_bytes)
    body_was_read()
    if sent.fingerprint() != fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key came with another request before; send this one under a key of its own."
        )


def _again(kept: "_Kept", sent: Sent, served: Callable[[Sent], Response | None]) -> Response | None:
    if (known := kept.get()) is not None:
        see_again(sent, known.fingerprint)
        response = known.response()
    elif (made := served(sent)) is not None:
        response = made
        kept.put(sent.fingerprint(), response)
    else:
        return None
    response.headers[REPLAYED] = "true"
    return response


@dataclass(frozen=True)
class _Answer:
    fingerprint: str
    status: int
    headers: dict[str, str]
    body: str

    def response(self) -> Response:
        response = Response(self.body, self.status)
        response.headers.update(self.headers)
        return response


class _Kept:
    """The answer under one name, in Redis, for all API processes."""

    def __init__(self, to: Services, name: str) -> None:
        self._redis = to.client
        self._key = f"{to.settings.key_prefix}once:{name}"

    def get(self) -> _Answer | None:
        command: Any = self._redis.execute_command
        try:
            packed = command("GET", self._key, **{NEVER_DECODE: True})
        except redis.RedisError as error:
            raise QueueUnavailable(f"Redis cannot be used right now ({type(error).__name__})") from error
        return _Answer(**json.loads(zlib.decompress(packed))) if packed else None

    def put(self, fingerprint: str, response: Response) -> None:
        headers = {name: response.headers[name] for name in _HEADERS if name in response.headers}
        answer = [fingerprint, response.status_code, headers, response.get_data(as_text=True)]
        names = ("fingerprint", "status", "headers", "body")
        packed = zlib.compress(json.dumps(dict(zip(names, answer, strict=True))).encode(), 9)
        try:
            self._redis.set(self._key, packed, ex=KEEP_SECONDS)
        except redis.RedisError as error:  # what was made tells the same request again
            _log.warning("an answer is not kept for its Idempotency-Key", reason=type(error).__name__)
