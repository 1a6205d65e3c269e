"""What is answered instead of doing what was asked of an upload."""

from typing import ClassVar

from api.errors import RequestError, Unprocessable


class UploadNotFound(RequestError):
    """No upload has this id, or it has expired."""

    code: ClassVar[str] = "upload_not_found"
    status: ClassVar[int] = 404


class UploadCompleted(RequestError):
    """The upload is completed: it takes no more bytes."""

    code: ClassVar[str] = "upload_completed"
    status: ClassVar[int] = 409


class PartsMissing(RequestError):
    """Not all of the upload has arrived."""

    code: ClassVar[str] = "parts_missing"
    status: ClassVar[int] = 409


class UploadMismatch(Unprocessable):
    """What has arrived is not what was announced."""

    code: ClassVar[str] = "upload_mismatch"
    status: ClassVar[int] = 409


class UploadNotCompleted(Unprocessable):
    """The upload that a job names is not completed."""

    code: ClassVar[str] = "upload_not_completed"
    status: ClassVar[int] = 409


class TooManyUploads(RequestError):
    """The caller has as many uploads as it may."""

    code: ClassVar[str] = "too_many_uploads"
    status: ClassVar[int] = 429


class SignatureInvalid(RequestError):
    """The URL was not signed by this service, or was changed."""

    code: ClassVar[str] = "signature_invalid"
    status: ClassVar[int] = 403


class SignatureExpired(RequestError):
    """The URL was signed for a time that is over."""

    code: ClassVar[str] = "signature_expired"
    status: ClassVar[int] = 403
