"""Beginning and ending uploads."""

import uuid
from contextlib import suppress

from api.caller import caller
from api.errors import FieldError, Unprocessable
from api.reach import clients_reach_storage
from api.services import Services
from api.uploads.errors import TooManyUploads
from api.uploads.receive import unknown
from api.uploads.schemas import UploadRequest
from shared.errors import StorageError
from shared.keys import upload_key, upload_prefix
from shared.names import plain_name
from shared.records import Upload
from shared.settings import Settings
from shared.storage.interface import MAX_PARTS, MIB

_HOUR = 3600.0


def begin(to: Services, asked: UploadRequest) -> Upload:
    """Begin an upload of the caller's.

    Raises:
        Unprocessable: if it is larger than a recording may be.
        TooManyUploads: if the caller has as many as it may.
        QueueUnavailable: if Redis is down.
        StorageError: if storage is.
    """
    if asked.bytes > to.settings.max_upload_bytes:
        detail = f"a recording may have {to.settings.max_upload_bytes} bytes"
        raise Unprocessable.of(FieldError("#/bytes", detail))
    to.admission.check_servers()
    upload_id, now = uuid.uuid4().hex, to.records.now()
    part_size = part_size_of(asked.bytes, to.settings)
    parts = to.store.part_uploads() if goes_direct(to.settings) else None
    session = None
    if parts is not None and part_size:
        session = parts.begin(upload_key(upload_id), content_type=asked.content_type)
    upload = Upload(
        id=upload_id,
        owner=caller().owner,
        filename=plain_name(asked.filename),
        size=asked.bytes,
        created=now,
        expires=now + to.settings.upload_hours * _HOUR,
        content_type=asked.content_type,
        sha256=asked.sha256,
        part_size=part_size,
        session=session,
        direct=parts is not None,
    )
    try:
        begun = to.uploads.create(upload, most=to.settings.max_uploads_per_key)
    except BaseException:
        end_session(to, upload)
        raise
    if not begun:
        end_session(to, upload)
        most = to.settings.max_uploads_per_key
        raise TooManyUploads(
            f"There are {most} uploads of this key, as many as it may have; delete some, or wait until they expire.",
            headers={"Retry-After": "60"},
        )
    return upload


def drop(to: Services, upload: Upload) -> None:
    """Delete an upload with all that has arrived of it; jobs made of it keep their own copies.

    Raises:
        QueueUnavailable, StorageError: it is there still, and may be deleted again.
    """
    parts = to.store.part_uploads()
    if upload.session and parts is not None:
        parts.abort(upload_key(upload.id), upload.session)
    to.store.delete_prefix(upload_prefix(upload.id))
    to.uploads.remove(upload)


def existing(to: Services, upload_id: str) -> Upload:
    """Give an upload that the caller may see.

    Raises:
        UploadNotFound: if there is none.
    """
    upload = to.uploads.get(upload_id)
    if upload is None or not caller().sees(upload.owner):
        raise unknown()
    return upload


def end_session(to: Services, upload: Upload) -> None:
    """End what was begun in S3 for an upload that is not to be; what cannot be ended now, a sweep will."""
    parts = to.store.part_uploads()
    if upload.session and parts is not None:
        with suppress(StorageError):
            parts.abort(upload_key(upload.id), upload.session)


def goes_direct(settings: Settings) -> bool:
    """Whether clients are to send to the storage itself, where it has URLs."""
    return settings.uploads == "direct" or (settings.uploads == "auto" and clients_reach_storage(settings))


def part_size_of(size: int, settings: Settings) -> int:
    """Bytes of a part of an upload of *size* bytes; 0 if it comes in one piece."""
    if size <= settings.upload_part_bytes:
        return 0
    least = -(-size // MAX_PARTS)
    return max(settings.upload_part_bytes, -(-least // MIB) * MIB)
