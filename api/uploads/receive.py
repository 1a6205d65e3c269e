"""Bytes that are sent to the API by a signed URL: to storage piece by piece, whole or not at all."""

import hashlib
import secrets
from typing import IO

from api.http.access import body_was_read
from api.http.bodies import pieces
from api.services import Services
from api.uploads.errors import UploadCompleted, UploadNotFound
from api.uploads.ways import mismatch, other_bytes
from shared import log
from shared.errors import StorageError
from shared.keys import upload_part_key
from shared.records import Upload
from shared.records.uploads import ArrivedPart

_log = log.logger("api")


def receive(to: Services, upload: Upload, number: int, stream: IO[bytes], length: int | None) -> str:
    """Take in a part, *length* bytes long as the request says, in place of one that came before; gives its etag.

    Raises:
        RequestError: if it is not what was announced, or breaks off; nothing of it is left then.
        QueueUnavailable: if Redis is down.
        StorageError: if storage is.
    """
    expected = upload.part_length(number)
    if upload.status != "pending":
        raise completed()
    if length is not None and length != expected:
        raise mismatch(f"the body has {length} bytes and must have {expected}")
    key = upload_part_key(upload.id, number, secrets.token_hex(8))
    part = _written(to, upload, key, expected, stream)
    taken, before = to.uploads.arrive(upload, number, part)
    stale = key if not taken else before.key if before else None
    if stale:
        _forget(to, stale)
    if not taken:
        raise completed() if to.uploads.get(upload.id) else unknown()
    return part.etag


def completed() -> UploadCompleted:
    """Say that no more is taken."""
    return UploadCompleted("The upload is completed; begin another one.")


def unknown() -> UploadNotFound:
    """Say that no upload has the id."""
    return UploadNotFound("There is no upload of this id; it may have expired.")


def _written(to: Services, upload: Upload, key: str, expected: int, stream: IO[bytes]) -> ArrivedPart:
    md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    checked = upload.sha256 if not upload.part_size else None
    with to.store.writer(key, content_type=upload.content_type) as out:
        for piece in pieces(stream):
            size += len(piece)
            if size > expected:
                raise mismatch(f"the body has more bytes than the {expected} that it must have")
            out.write(piece)
            md5.update(piece)
            if checked:
                sha256.update(piece)
        body_was_read()
        if size < expected:
            raise mismatch(f"the body has {size} bytes and must have {expected}")
        if checked and sha256.hexdigest() != checked:
            raise other_bytes()
        out.commit()
    return ArrivedPart(key, size, md5.hexdigest())


def _forget(to: Services, key: str) -> None:
    try:
        to.store.delete(key)
    except StorageError as error:  # it is swept with the upload
        _log.warning("a part of an upload that does not count stays in storage", reason=error.message)
