"""A request's body as it is read, with a fingerprint by which the same request is known again."""

import hashlib
import json
from typing import IO

from flask import Request

from api.errors import MalformedForm
from api.http.bodies import Sink, pieces
from api.jobs.forms import Upload, receive, upload_too_large

_BYTES = 16
_FORM = "multipart/form-data"


class Sent:
    """One request.

    Attributes:
        stream: its body, for who does not call `receive`; to be read in order
        derived_id: names the thing that it makes, if that is to be made once: 32 hexadecimal digits, or None
        replayed: to be set where it was served before, so that the answer says so

    """

    def __init__(self, request: Request, *, derived_id: str | None = None) -> None:
        self.derived_id = derived_id
        self.replayed = False
        self._request = request
        self._body = hashlib.sha256()
        self._form: list[object] | None = None
        self.stream: IO[bytes] = _Hashed(
            request.stream, self._body, wanted=derived_id is not None and request.mimetype != _FORM
        )  # type: ignore[assignment]

    def receive(self, out: Sink, *, max_bytes: int) -> Upload:
        """Read a form, whose file goes to *out*, uncommitted.

        Raises:
            RequestError: see `api.uploads.receive`; also if its header names no boundary.
        """
        boundary = self._request.mimetype_params.get("boundary", "")
        if not boundary or len(boundary) > 200 or not boundary.isascii():
            raise MalformedForm("Content-Type names no usable boundary.")
        digest = hashlib.sha256()
        if self.derived_id is not None:
            out = _HashedSink(out, digest)
        upload = receive(self.stream, boundary.encode(), out, max_bytes=max_bytes)
        self._form = [upload.filename, digest.hexdigest(), sorted(upload.fields)]
        return upload

    def read_on(self, *, max_bytes: int) -> None:
        """Read what is left of the body and keep nothing of it.

        Raises:
            RequestError: if it is no form where it says so, is broken or too large.
        """
        if self._request.mimetype == _FORM and self._form is None:
            self.receive(Nowhere(), max_bytes=max_bytes)
            return
        size = 0
        for piece in pieces(self.stream):
            size += len(piece)
            if size > max_bytes:
                raise upload_too_large(max_bytes)

    def fingerprint(self) -> str:
        """Name all that was asked, once the body was read: 32 hexadecimal digits.

        Of a form, its fields in any order, the file's name and bytes; of any other body its bytes.
        """
        asked = self._request
        body: object = self._form or [asked.mimetype, self._body.hexdigest()]
        query = sorted(asked.args.items(multi=True))
        text = json.dumps([asked.method, asked.path, query, body], ensure_ascii=True)
        return hashlib.blake2b(text.encode(), digest_size=_BYTES).hexdigest()


class _Hashed:
    """A stream whose bytes are added up as they are read."""

    def __init__(self, stream: IO[bytes], digest: "hashlib._Hash", *, wanted: bool) -> None:
        self._stream = stream
        self._digest = digest
        self._wanted = wanted

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        if self._wanted:
            self._digest.update(data)
        return data


class _HashedSink:
    """A sink whose bytes are added up as they are written."""

    def __init__(self, out: Sink, digest: "hashlib._Hash") -> None:
        self._out = out
        self._digest = digest

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._out.write(data)


class Nowhere:
    """A sink that keeps nothing."""

    def write(self, data: bytes) -> int:
        """Take a piece."""
        return len(data)
