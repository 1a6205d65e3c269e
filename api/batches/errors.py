"""What the routes of batches answer instead of doing what was asked."""

from typing import ClassVar

from api.errors import RequestError, Unprocessable


class BatchNotFound(RequestError):
    """No batch has this id."""

    code: ClassVar[str] = "batch_not_found"
    status: ClassVar[int] = 404


class InvalidBatch(Unprocessable):
    """The list of items as a whole cannot be taken; `errors` names the lines."""

    code: ClassVar[str] = "invalid_batch"


class CustomIdTaken(Unprocessable):
    """Two items would have the same name; `errors` names the later ones."""

    code: ClassVar[str] = "custom_id_taken"
    status: ClassVar[int] = 409


class BatchEmpty(RequestError):
    """The batch has no items that it could be closed with."""

    code: ClassVar[str] = "batch_empty"
    status: ClassVar[int] = 409


class TooManyBatches(RequestError):
    """As many batches of the key as VFQ_MAX_OPEN_BATCHES says are not over."""

    code: ClassVar[str] = "too_many_batches"
    status: ClassVar[int] = 429


class BatchOver(RequestError):
    """The batch has ended already."""

    code: ClassVar[str] = "batch_over"
    status: ClassVar[int] = 409


class BatchNotOpen(RequestError):
    """No more items can be added to the batch."""

    code: ClassVar[str] = "batch_not_open"
    status: ClassVar[int] = 409


class BatchNotFinished(RequestError):
    """The batch has no manifests yet."""

    code: ClassVar[str] = "batch_not_finished"
    status: ClassVar[int] = 409
