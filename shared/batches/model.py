"""What a batch is: what was asked, its items, what became of them, and how far it is."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shared.webhooks.events import BatchEvent, hook

#: Longest name that a caller may give an item; a storage key is one, too.
MAX_CUSTOM_ID = 1024


class BatchStatus(StrEnum):
    """The states of a batch."""

    #: Items may be added.
    OPEN = "open"
    #: The objects under its prefix are being listed.
    VALIDATING = "validating"
    #: Its items become jobs, and those are done.
    PROCESSING = "processing"
    #: Asked to stop; some of its jobs have yet to.
    CANCELING = "canceling"
    #: Every item has come to its end, and both manifests are there.
    COMPLETED = "completed"
    #: Stopped on request; both manifests are there.
    CANCELED = "canceled"
    #: It could not begin; `error` says why.
    FAILED = "failed"


OVER = frozenset({BatchStatus.COMPLETED, BatchStatus.CANCELED, BatchStatus.FAILED})


class BatchManifest(BaseModel):
    """What was asked of a batch: written to storage before it is accepted."""

    model_config = ConfigDict(frozen=True)

    id: str
    created_at: float = Field(description="Seconds since 1970, UTC.")
    owner: str
    max_open: int = Field(0, description="Jobs of the owner that may be unfinished at once; 0 for however many.")
    open: bool = Field(False, description="Items are added one by one, until it is closed.")
    prefix: str | None = Field(None, description="Its items are the objects under this prefix.")
    total: int = Field(0, description="Items that came with it.")
    options: dict[str, Any] = Field({}, repr=False, description="Of all its jobs; an item's own win.")
    metadata: dict[str, Any] = Field({}, description="The caller's own.")
    webhook: str | None = Field(None, repr=False, description="To be told of its end.")
    webhook_events_filter: tuple[BatchEvent, ...] | None = None

    def hook(self) -> str:
        """Give the webhook as the record has it; '' for none."""
        return hook(self.webhook, self.webhook_events_filter or ("batch.completed",))


class Counts(BaseModel):
    """How many items are where."""

    model_config = ConfigDict(frozen=True)

    total: int = 0
    queued: int = Field(0, description="Wait: their jobs are queued, or not made yet.")
    processing: int = 0
    succeeded: int = 0
    failed: int = Field(0, description="Expired ones among them.")
    canceled: int = 0


class ItemFault(BaseModel):
    """Why an item came to nothing."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str


class Item(BaseModel):
    """An item as it is kept: a job to be made, or why it cannot be."""

    model_config = ConfigDict(frozen=True)

    custom_id: str
    input: dict[str, Any] | None = Field(None, repr=False)
    options: dict[str, Any] = Field({}, repr=False)
    fault: ItemFault | None = None


class ItemResult(BaseModel):
    """What a job left."""

    model_config = ConfigDict(frozen=True)

    url: str = Field(description="Address of the result.")
    key: str = Field(description="The object in storage.")
    filename: str
    bytes: int
    sha256: str | None = None


class Outcome(BaseModel):
    """What became of an item: a line of a manifest."""

    model_config = ConfigDict(frozen=True)

    item: int = Field(description="Number of the item, from 0.")
    custom_id: str
    job_id: str | None = Field(None, description="None where no job was made.")
    status: str
    result: ItemResult | None = None
    error: ItemFault | None = None


class BatchEnd(BaseModel):
    """How a batch ended: kept beside its manifests, so that a Redis that is lost can be rebuilt."""

    model_config = ConfigDict(frozen=True)

    status: BatchStatus
    started_at: float | None = None
    completed_at: float
    counts: Counts
    expanded: int = Field(description="Items that have become jobs, or come to nothing.")
    error: ItemFault | None = None


class Place(BaseModel):
    """Where the next item stands.

    Attributes:
        item: its number
        segment: number of the first item of its segment
        offset: bytes of the segment before it
    """

    model_config = ConfigDict(frozen=True)

    item: int = 0
    segment: int = 0
    offset: int = 0


class BatchRecord(BaseModel):
    """What Redis knows of a batch."""

    model_config = ConfigDict(frozen=True)

    id: str
    manifest: BatchManifest
    status: BatchStatus
    version: int = 1
    started_at: float | None = None
    completed_at: float | None = None
    counts: Counts
    next: Place = Place()
    under_way: int = Field(0, description="Its jobs that are not over.")
    error: ItemFault | None = None
