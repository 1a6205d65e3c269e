"""JSON bodies of requests."""

from typing import IO

from flask import Request

from api.access import body_was_read
from api.errors import FieldError, FormTooLarge, InvalidJson, Unprocessable, UnsupportedMedia
from api.forms import FORM_BYTES, pieces
from api.strictjson import NamedTwice, NotJson, parse


def refuse_encoded(request: Request) -> None:
    """Refuse a body that would have to be unpacked: a few bytes can become gigabytes.

    Raises:
        UnsupportedMedia: if it is one.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("Send the body as it is, without Content-Encoding.")


def json_body(stream: IO[bytes]) -> dict[str, object]:
    """Read a body that must be a JSON object.

    Raises:
        RequestError: if it is none.
    """
    return _object(_whole(stream))


def json_body_or_nothing(stream: IO[bytes]) -> dict[str, object] | None:
    """The same for a body that may be left out."""
    body = _whole(stream)
    return _object(body) if body.strip() else None


def _whole(stream: IO[bytes]) -> bytes:
    body = bytearray()
    for piece in pieces(stream):
        body += piece
        if len(body) > FORM_BYTES:
            raise FormTooLarge(f"A JSON body may have {FORM_BYTES} bytes.")
    body_was_read()
    return bytes(body)


def _object(body: bytes) -> dict[str, object]:
    try:
        value = parse(body)
    except NamedTwice as error:
        raise Unprocessable.of(FieldError("#", str(error))) from None
    except NotJson as error:
        raise InvalidJson(f"The body cannot be read as JSON: {error}.") from None
    if not isinstance(value, dict):
        raise InvalidJson("The body must be a JSON object.")
    return value
