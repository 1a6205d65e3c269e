"""The body of a convert request: the audio goes to storage as it comes, the rest is read when it is whole."""

from typing import IO

from flask import Request
from pydantic import ValidationError

from api.errors import UnsupportedMedia
from api.harmony.base64_reader import Base64Reader
from api.harmony.errors import AudioTooLarge, ConvertInvalid, RestTooLarge
from api.harmony.schemas import ConvertRequest
from api.harmony.split_json import SplitJson
from api.http.access import body_was_read
from api.http.bodies import FORM_BYTES, Sink, pieces, refuse_encoded
from api.http.strictjson import NotJson, parse
from api.jobs.options import say

_AUDIO = "source_audio"
#: A body may be larger than its audio by so much: base64, escapes (PHP writes every / as \/), line breaks.
_MOST_PER_BYTE = 2


def receive(request: Request, stream: IO[bytes], out: Sink, *, max_bytes: int) -> tuple[ConvertRequest, int]:
    """Write the audio to *out*, uncommitted; gives the rest, and how many bytes of audio there were.

    Raises:
        RequestError: if the request is broken, too large, or none that can be served.
    """
    refuse_encoded(request)
    if request.mimetype not in ("", "application/json") and not request.mimetype.endswith("+json"):
        raise UnsupportedMedia("Send application/json.")
    most = _MOST_PER_BYTE * max_bytes + FORM_BYTES
    if (request.content_length or 0) > most:
        raise _too_large(max_bytes)
    audio = Base64Reader(out, max_bytes=max_bytes)
    body = SplitJson(_AUDIO, take=audio.feed, drop=lambda _: None)
    size = 0
    try:
        for piece in pieces(stream):
            size += len(piece)
            if size > most:
                raise _too_large(max_bytes)
            body.feed(piece)
            if len(body.kept) > FORM_BYTES:
                raise RestTooLarge(f"Beside source_audio a request may hold {FORM_BYTES} bytes.")
        body_was_read()
        asked = _read(bytes(body.kept))
    except NotJson as error:
        raise ConvertInvalid(f"The body cannot be read as JSON: {error}.") from None
    audio.finish()
    return asked, audio.size


def _read(text: bytes) -> ConvertRequest:
    value = parse(text)
    if not isinstance(value, dict):
        raise ConvertInvalid("The body must be a JSON object.")
    try:
        return ConvertRequest.model_validate(value)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False)[:5]
    raise ConvertInvalid("; ".join(f"{'.'.join(map(str, fault['loc']))}: {say(fault)}" for fault in faults))


def _too_large(max_bytes: int) -> AudioTooLarge:
    return AudioTooLarge(
        f"The request is larger than this route takes: {max_bytes} bytes of audio; send larger recordings to /v1/jobs."
    )
