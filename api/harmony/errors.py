"""What goes wrong with a convert request alone; told in Harmony's envelope."""

from typing import ClassVar

from api.errors import RequestError


class ConvertInvalid(RequestError):
    """The request is none that can be served."""

    code: ClassVar[str] = "convert_invalid"


class BadBase64(ConvertInvalid):
    """`source_audio` is not base64."""

    code: ClassVar[str] = "base64_invalid"


class ModelNotFound(RequestError):
    """There is no model of this name."""

    code: ClassVar[str] = "model_not_found"
    status: ClassVar[int] = 404


class AudioTooLarge(RequestError):
    """`source_audio` is larger than VFQ_CONVERT_MAX_BYTES."""

    code: ClassVar[str] = "audio_too_large"
    status: ClassVar[int] = 413


class RestTooLarge(RequestError):
    """What stands beside `source_audio` is larger than any options can be."""

    code: ClassVar[str] = "rest_too_large"
    status: ClassVar[int] = 413


class ConvertFailed(RequestError):
    """The job came to nothing, and not because of its recording."""

    code: ClassVar[str] = "convert_failed"
    status: ClassVar[int] = 500


class ConvertStopped(RequestError):
    """Somebody canceled or deleted the job meanwhile."""

    code: ClassVar[str] = "convert_stopped"
    status: ClassVar[int] = 409


class ConvertLate(RequestError):
    """The job is not done in time; it goes on."""

    code: ClassVar[str] = "convert_late"
    status: ClassVar[int] = 504


class ServerStops(RequestError):
    """The server is being stopped; the job goes on."""

    code: ClassVar[str] = "server_stops"
    status: ClassVar[int] = 503
