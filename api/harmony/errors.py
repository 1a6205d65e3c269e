"""What goes wrong with a convert request alone; told in Harmony's envelope, which has no codes of its own."""

from typing import ClassVar

from api.errors import RequestError


class ConvertInvalid(RequestError):
    """The request is none that can be served."""


class BadBase64(ConvertInvalid):
    """`source_audio` is not base64."""


class ModelNotFound(RequestError):
    """There is no model of this name."""

    status: ClassVar[int] = 404


class AudioTooLarge(RequestError):
    """`source_audio` is larger than VFQ_CONVERT_MAX_BYTES."""

    status: ClassVar[int] = 413


class RestTooLarge(RequestError):
    """What stands beside `source_audio` is larger than any options can be."""

    status: ClassVar[int] = 413


class ConvertFailed(RequestError):
    """The job came to nothing, and not because of its recording."""

    status: ClassVar[int] = 500


class ConvertStopped(RequestError):
    """Somebody canceled or deleted the job meanwhile."""

    status: ClassVar[int] = 409


class ConvertLate(RequestError):
    """The job is not done in time; it goes on."""

    status: ClassVar[int] = 504


class ServerStops(RequestError):
    """The server is being stopped; the job goes on."""

    status: ClassVar[int] = 503
