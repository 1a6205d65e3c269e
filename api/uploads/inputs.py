"""An upload as the recording of a job."""

from api.caller import caller
from api.errors import FieldError, InputMissing, InputTooLarge
from api.jobs.accept import forget_objects
from api.services import Services
from api.uploads.errors import UploadNotCompleted
from shared.jobs import JobInput
from shared.uploaded import UploadRefused, copy_upload, find_upload

_KINDS = {kind.code: kind for kind in (InputMissing, InputTooLarge, UploadNotCompleted)}


def uploaded_input(to: Services, job_id: str, upload_id: str) -> JobInput:
    """Copy an upload that the caller may see to where the job's own recording lies.

    Raises:
        Unprocessable: if there is none, or it is not completed.
        QueueUnavailable: if Redis is down.
        StorageError: if storage is.
    """
    try:
        upload = find_upload(to.uploads, upload_id, sees=caller().sees, max_bytes=to.settings.max_upload_bytes)
        return copy_upload(to.store, upload, job_id)
    except UploadRefused as refused:
        raise _KINDS[refused.reason](refused.message, [FieldError("#/input/upload", refused.detail)]) from None
    except BaseException:
        forget_objects(to, job_id)  # the copy may have been made all the same
        raise
