"""What the API answers instead of doing what was asked, each with its HTTP status."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from shared.errors import ServiceError

MOST_NAMED = 100
"""Fields at fault in one answer: a megabyte of them would be answered with ten."""


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field: `pointer` is a JSON pointer into the request (RFC 6901, as a fragment)."""

    pointer: str
    detail: str


def pointer(path: Iterable[str | int]) -> str:
    """Write the place of a field as the fragment `#/output/format`; long names are cut."""
    return "#" + "".join("/" + str(part)[:80].replace("~", "~0").replace("/", "~1") for part in path)


@dataclass(eq=False)
class RequestError(ServiceError):
    """
    Base of what callers get told as a problem document.

    Attributes:
        status: of the HTTP answer
        errors: the fields at fault
        headers: more headers of the answer

    """

    message: str
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    code: ClassVar[str] = "bad_request"
    status: ClassVar[int] = 400

    def __post_init__(self) -> None:
        super().__init__(self.message)


class InvalidJson(RequestError):
    """The body is not JSON, or not an object."""

    code: ClassVar[str] = "invalid_json"


class MalformedForm(RequestError):
    """The body is not the multipart form that its header promises."""

    code: ClassVar[str] = "malformed_form"


class UploadIncomplete(RequestError):
    """The body ended too early: the client broke off."""

    code: ClassVar[str] = "upload_incomplete"


class UploadTooLarge(RequestError):
    """The recording is larger than VFQ_MAX_UPLOAD_BYTES."""

    code: ClassVar[str] = "upload_too_large"
    status: ClassVar[int] = 413


class FormTooLarge(RequestError):
    """The fields beside the file, or a JSON body, are larger than any options can be."""

    code: ClassVar[str] = "form_too_large"
    status: ClassVar[int] = 413


class UnsupportedMedia(RequestError):
    """The body is of a type that the API does not read."""

    code: ClassVar[str] = "unsupported_media_type"
    status: ClassVar[int] = 415


class Unprocessable(RequestError):
    """The request reads well, but asks for what cannot be done; `errors` names the fields.

    422 is for what the OpenAPI document rules out, whatever the state of the service is: where the request alone is not
    at fault, kinds of this have a status of their own.
    """

    code: ClassVar[str] = "invalid_request"
    status: ClassVar[int] = 422

    @classmethod
    def of(cls, *errors: FieldError) -> Self:
        """Make one whose sentence is that of its first fields; of thousands, as many are named as anyone reads."""
        return cls("; ".join(f"{error.pointer}: {error.detail}" for error in errors[:5]), errors[:MOST_NAMED])


class UrlNotCalled(Unprocessable):
    """The URL leads to where this service does not call."""

    code: ClassVar[str] = "url_refused"
    status: ClassVar[int] = 403


class FileMissing(Unprocessable):
    """The form has no part `file` with a file name."""

    code: ClassVar[str] = "file_missing"


class FileEmpty(Unprocessable):
    """The recording has no bytes."""

    code: ClassVar[str] = "file_empty"


class InputNotAllowed(Unprocessable):
    """The named object is not under one of VFQ_INPUT_PREFIXES."""

    code: ClassVar[str] = "input_not_allowed"
    status: ClassVar[int] = 403


class InputMissing(Unprocessable):
    """There is no object of the name given."""

    code: ClassVar[str] = "input_missing"
    status: ClassVar[int] = 404


class InputTooLarge(Unprocessable):
    """The named object is larger than VFQ_MAX_UPLOAD_BYTES."""

    code: ClassVar[str] = "input_too_large"


class KeyMissing(RequestError):
    """The service wants a key."""

    code: ClassVar[str] = "key_missing"
    status: ClassVar[int] = 401


class KeyInvalid(RequestError):
    """There is no such key, or it was revoked."""

    code: ClassVar[str] = "key_invalid"
    status: ClassVar[int] = 401


class NoKeys(RequestError):
    """The service is open to other machines, and no key was made yet."""

    code: ClassVar[str] = "no_keys"
    status: ClassVar[int] = 401


class ScopeMissing(RequestError):
    """The key may not do this."""

    code: ClassVar[str] = "scope_missing"
    status: ClassVar[int] = 403


class RateExceeded(RequestError):
    """The key has asked as often as it may in a minute."""

    code: ClassVar[str] = "rate_exceeded"
    status: ClassVar[int] = 429


class BeingTakenIn(RequestError):
    """Another request is at the same thing; ask again."""

    code: ClassVar[str] = "being_taken_in"
    status: ClassVar[int] = 409


class IdempotencyKeyInvalid(RequestError):
    """The header Idempotency-Key holds no key."""

    code: ClassVar[str] = "idempotency_key_invalid"


class IdempotencyKeyReused(RequestError):
    """The Idempotency-Key came with another request before."""

    code: ClassVar[str] = "idempotency_key_reused"
    status: ClassVar[int] = 422


class TooManyStreams(RequestError):
    """As many requests wait or stream as VFQ_API_WATCHERS says."""

    code: ClassVar[str] = "too_many_streams"
    status: ClassVar[int] = 503


class TooManyJobs(RequestError):
    """As many jobs of a priority as VFQ_MAX_OPEN_INTERACTIVE or VFQ_MAX_OPEN_BULK says are not over."""

    code: ClassVar[str] = "too_many_jobs"
    status: ClassVar[int] = 429


class QueueFull(RequestError):
    """Redis uses more of its memory than VFQ_MAX_REDIS_SHARE."""

    code: ClassVar[str] = "queue_full"
    status: ClassVar[int] = 503


class PageNotFound(Unprocessable):
    """The cursor of a list is none of ours, or names what is no longer there."""

    code: ClassVar[str] = "page_not_found"
    status: ClassVar[int] = 404


class JobNotFound(RequestError):
    """No job has this id."""

    code: ClassVar[str] = "job_not_found"
    status: ClassVar[int] = 404


class MalformedJobId(JobNotFound):
    """This cannot be the id of a job."""

    code: ClassVar[str] = "malformed_job_id"


class JobConflict(RequestError):
    """The state of the job does not allow what was asked."""

    code: ClassVar[str] = "job_conflict"
    status: ClassVar[int] = 409


class JobOver(JobConflict):
    """The job has ended already."""

    code: ClassVar[str] = "job_over"


class JobNotFinished(JobConflict):
    """The job has no result yet."""

    code: ClassVar[str] = "job_not_finished"


class JobFailed(JobConflict):
    """The job has no result because it failed."""

    code: ClassVar[str] = "job_failed"


class JobCanceled(JobConflict):
    """The job has no result because it was canceled."""

    code: ClassVar[str] = "job_canceled"


class JobExpired(JobConflict):
    """The job has no result because its deadline passed."""

    code: ClassVar[str] = "job_expired"


class JobNotRetryable(JobConflict):
    """The job has not come to nothing, so that there is nothing to do again."""

    code: ClassVar[str] = "job_not_retryable"


class OptionsConflict(JobConflict):
    """What is to be changed of the job's options does not go with the others."""

    code: ClassVar[str] = "options_conflict"


class SourceGone(RequestError):
    """The recording is no longer in storage."""

    code: ClassVar[str] = "source_gone"
    status: ClassVar[int] = 410


class ResultGone(RequestError):
    """The result is no longer in storage."""

    code: ClassVar[str] = "result_gone"
    status: ClassVar[int] = 410


class ReceiptGone(RequestError):
    """There is no receipt in storage, or none any more."""

    code: ClassVar[str] = "receipt_gone"
    status: ClassVar[int] = 410


class RangeNotSatisfiable(RequestError):
    """The asked range begins beyond the end of the result."""

    code: ClassVar[str] = "range_not_satisfiable"
    status: ClassVar[int] = 416
