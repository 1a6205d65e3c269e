"""Errors in the envelope of Harmony Speech Engine, on its routes."""

from collections.abc import Mapping, Sequence
from typing import Literal

from flask import Response
from pydantic import BaseModel, Field

from api.errors import FieldError

#: Addresses that are Harmony's begin with this.
PREFIX = "/v1/audio/"
_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    409: "ConflictError",
    410: "GoneError",
    413: "PayloadTooLargeError",
    415: "UnsupportedMediaTypeError",
    429: "RateLimitError",
    500: "InternalServerError",
    503: "ServiceUnavailableError",
    504: "TimeoutError",
}


class HarmonyError(BaseModel):
    """An error, as Harmony Speech Engine tells it."""

    object: Literal["error"] = "error"
    message: str = Field(description="For people: what is wrong and what can be done.")
    type: str = Field(description=f"One of {', '.join(_TYPES.values())}.")
    param: None = None
    code: int = Field(description="The HTTP status.")


class Unauthorized(HarmonyError):
    """The same for who has no key, with what Harmony Speech Engine says alone."""

    error: Literal["Unauthorized"] = "Unauthorized"


def respond(
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Make the answer. What cannot be done as asked is 400 there, not 422."""
    del code, errors  # there is no room for them, and `detail` says it all
    status = 400 if status == 422 else status
    kind = _TYPES.get(status) or _TYPES[400 if status < 500 else 500]
    envelope = Unauthorized if status == 401 else HarmonyError
    body = envelope(message=detail, type=kind, code=status).model_dump_json()
    response = Response(body, status, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    for name, value in (headers or {}).items():
        response.headers[name] = value
    return response
