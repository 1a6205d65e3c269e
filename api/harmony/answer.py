"""The answer to a convert request: base64 in JSON, or the bytes; from storage to the caller without being held."""

import base64
import json
from collections.abc import Iterator

from flask import Response, url_for

from api.errors import ResultGone
from api.harmony.convert import Converted
from api.http.names import disposition
from api.services import Services
from shared.errors import ObjectMissing
from shared.jobs import JobOutput
from shared.storage.streams import ByteStream

_PIECE = 3 * 256 * 1024


def answer(to: Services, converted: Converted) -> Response:
    """Give what the last job has made.

    Raises:
        ResultGone: if somebody deleted it meanwhile.
        StorageError: if storage is down.
    """
    job = converted.job
    output, key = job.output, job.result_key
    if output is None or key is None:
        raise ResultGone("The job has no result any more; send its recording again.")
    try:
        size = to.store.head(key).size
        body = to.store.stream(key, 0, size, chunk=_PIECE)
    except ObjectMissing:
        raise ResultGone("The result was deleted from storage; send the recording again.") from None
    response = _bytes(body, output, size) if converted.stream else _document(body, converted, size)
    response.headers["Link"] = f'<{url_for("jobs.read", job_id=job.manifest.id)}>; rel="describedby"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _bytes(body: ByteStream, output: JobOutput, size: int) -> Response:
    response = Response(body, mimetype=output.media_type)
    response.content_length = size
    response.headers["Content-Disposition"] = disposition(output.filename)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _document(body: ByteStream, converted: Converted, size: int) -> Response:
    """Harmony's JSON, byte for byte: its members in its order, without spaces."""
    manifest = converted.job.manifest
    head = {"id": f"ac-{manifest.id}", "model": converted.model, "created": int(manifest.created_at)}
    text = json.dumps(head, ensure_ascii=False, separators=(",", ":"))
    begin, end = f'{text[:-1]},"data":"'.encode(), b'"}'
    response = Response(_Encoded(begin, body, end), mimetype="application/json")
    response.content_length = len(begin) + 4 * -(-size // 3) + len(end)
    return response


class _Encoded:
    """A stream as base64, with what comes before and after; closed by the server."""

    def __init__(self, begin: bytes, body: ByteStream, end: bytes) -> None:
        self._begin = begin
        self._body = body
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        yield self._begin
        left = b""
        for piece in self._body:
            data = left + piece
            whole = len(data) - len(data) % 3
            left = data[whole:]
            yield base64.b64encode(data[:whole])
        yield base64.b64encode(left) + self._end

    def close(self) -> None:
        self._body.close()
