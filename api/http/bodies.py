"""Bodies of requests, as they come in: in pieces, or whole where they must be JSON."""

from collections.abc import Iterator
from typing import IO, Protocol

from flask import Request

from api.errors import FieldError, FormTooLarge, InvalidJson, Unprocessable, UnsupportedMedia, UploadIncomplete
from api.http.access import body_was_read
from api.http.strictjson import NamedTwice, NotJson, parse

PIECE = 256 * 1024
#: All that a body may hold beside a file: JSON, or the fields and part headers of a form.
FORM_BYTES = 1024 * 1024


class Sink(Protocol):
    """Where the bytes of a file go: an ObjectWriter, or what stands for one."""

    def write(self, data: bytes) -> int:
        """Take a piece."""
        ...


def pieces(stream: IO[bytes]) -> Iterator[bytes]:
    """Read a request's body to its end.

    Raises:
        UploadIncomplete: if the connection breaks or its framing does.
    """
    while True:
        try:
            piece = stream.read(PIECE)
        except Exception as error:  # whatever the server raises for a broken body
            raise UploadIncomplete("The body of the request ended before it was whole; send it again.") from error
        if not piece:
            return
        yield piece


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
