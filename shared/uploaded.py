"""Uploads as the recordings of jobs: each job gets a copy of its own, made inside storage."""

from collections.abc import Callable
from dataclasses import dataclass

from shared.errors import ObjectMissing
from shared.jobs import JobInput
from shared.keys import source_key
from shared.records import Upload, Uploads
from shared.storage import ObjectStore


@dataclass(eq=False)
class UploadRefused(Exception):
    """
    An upload that is named cannot be a job's recording.

    Attributes:
        reason: the error's code: input_missing, upload_not_completed or input_too_large
        message: for people
        detail: the same as a remark to the field

    """

    reason: str
    message: str
    detail: str


def find_upload(uploads: Uploads, upload_id: str, *, sees: Callable[[str], bool], max_bytes: int) -> Upload:
    """Find a completed upload of an owner whose things one *sees*.

    Raises:
        UploadRefused: if it cannot be a job's recording.
        QueueUnavailable: if Redis cannot be used.
    """
    upload = uploads.get(upload_id)
    if upload is None or not sees(upload.owner):
        raise _missing()
    if upload.status != "completed":
        raise UploadRefused(
            "upload_not_completed", "The upload is not completed yet.", "names an upload that is not completed"
        )
    if upload.size > max_bytes:
        detail = f"names an upload of {upload.size} bytes; {max_bytes} are allowed"
        raise UploadRefused("input_too_large", f"The input {detail}.", detail)
    return upload


def copy_upload(store: ObjectStore, upload: Upload, job_id: str) -> JobInput:
    """Copy an upload to where its job's own recording lies; what is deleted or expires then is the upload alone.

    Raises:
        UploadRefused: if the object is gone, or was replaced after its upload was completed.
        StorageError: if storage cannot be used.
    """
    assert upload.key is not None
    try:
        if store.head(upload.key).etag != upload.seal:
            raise UploadRefused(
                "input_missing", "The upload was replaced after it was completed.", "names an upload that was replaced"
            )
        copied = store.copy(upload.key, source_key(job_id))
    except ObjectMissing:
        raise _missing() from None
    return JobInput(key=copied.key, filename=upload.filename, bytes=copied.size)


def _missing() -> UploadRefused:
    return UploadRefused("input_missing", "There is no such upload; it may have expired.", "names no upload")
