"""Batches as callers ask for them and see them."""

from typing import Annotated, Any, Self

from flask import url_for
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from api.document.exclusive import one_of
from api.jobs.options import InputReference
from api.jobs.schemas import Time, rfc3339
from shared.batches.model import MAX_CUSTOM_ID, BatchRecord, BatchStatus, Counts, ItemFault
from shared.jobs import JobOptions, Status
from shared.webhooks.events import MOST_URL, URL_PATTERN, BatchEvent, shown_url


def _a_url(url: str) -> str:
    if not (url.isascii() and url.isprintable() and " " not in url):
        raise ValueError("must be a URL: spaces and what is not ASCII are written as %20 and the like")
    return url


WebhookUrl = Annotated[str, AfterValidator(_a_url), Field(json_schema_extra={"pattern": URL_PATTERN})]


class BatchHead(BaseModel):
    """What is asked of a batch as a whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    options: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Options of a job, for all items; an item's own win. `priority` is `bulk` if nothing else is said.",
    )
    metadata: dict[str, JsonValue] = Field(
        default_factory=dict, description="The caller's own, given back unchanged with the batch."
    )
    webhook: WebhookUrl | None = Field(
        None, max_length=MOST_URL, repr=False, description="URL that is told when the batch is over, whatever its end."
    )
    webhook_events_filter: tuple[BatchEvent, ...] | None = Field(
        None, min_length=1, description="What it is told. There is `batch.completed` alone."
    )

    @model_validator(mode="after")
    def _filter_is_of_a_webhook(self) -> Self:
        if self.webhook_events_filter is not None and self.webhook is None:
            raise ValueError("webhook_events_filter is for a webhook")
        return self


class BatchItemRequest(BaseModel):
    """An item: a job, and what the caller calls it. Options stand beside these or in `options`.

    What is wrong with its recording or its options fails the item, and never the request.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    custom_id: str = Field(
        min_length=1, max_length=MAX_CUSTOM_ID, description="1 to 1,024 characters; each once in a batch."
    )
    input: InputReference | JsonValue = Field(None, description="Where its recording is.")
    options: JobOptions | JsonValue = Field(default_factory=dict, description="Options of its job.")


_ONE_SOURCE = one_of(
    {
        "items": {"type": "array"},
        "prefix": {"type": "string"},
        "input": {"type": "object"},
        "open": {"const": True},
    },
    absent={"open": {"enum": [False, None]}},
)


class BatchRequest(BatchHead):
    """A batch as JSON: items, a prefix in storage, a list in storage, or none yet."""

    model_config = ConfigDict(json_schema_extra=_ONE_SOURCE)

    items: list[BatchItemRequest] | None = Field(None, min_length=1, description="A few items.")
    prefix: str | None = Field(None, description="Every object under this prefix is an item; its key is `custom_id`.")
    input: InputReference | None = Field(None, description="A list of items as JSONL that is in storage.")
    open: bool | None = Field(False, description="Items follow one by one, until the batch is closed.")


class ItemsRequest(BaseModel):
    """More items of an open batch."""

    model_config = ConfigDict(extra="forbid")

    items: list[BatchItemRequest] = Field(min_length=1)


class BatchUrls(BaseModel):
    """Where to go on."""

    model_config = ConfigDict(populate_by_name=True)

    this: str = Field(alias="self")
    cancel: str
    items: str
    jobs: str
    output: str
    errors: str
    deliveries: str


class BatchView(BaseModel):
    """A batch."""

    id: str
    status: BatchStatus
    request_counts: Counts
    options: dict[str, JsonValue]
    metadata: dict[str, JsonValue]
    prefix: str | None
    webhook: str | None = Field(description="Without its query, which may hold a secret.")
    webhook_events_filter: list[BatchEvent] | None
    error: ItemFault | None = Field(description="Why the batch failed; null otherwise.")
    created_at: Time
    started_at: Time | None
    completed_at: Time | None
    urls: BatchUrls


class BatchPage(BaseModel):
    """Batches, youngest first."""

    batches: list[BatchView]
    next: str | None = Field(description="Address of the next page; null on the last.")


class ItemView(BaseModel):
    """An item of a batch."""

    item: int = Field(description="Number of the item, from 0.")
    custom_id: str
    input: dict[str, JsonValue] | None
    status: Status | None = Field(description="Of its job; null if that was deleted.")
    job_id: str | None = Field(description="Null while there is no job, or if none could be made.")
    error: ItemFault | None


class ItemPage(BaseModel):
    """Items in their order."""

    items: list[ItemView]
    next: str | None = Field(description="Address of the next page; null on the last.")


def dump_batch(record: BatchRecord) -> dict[str, Any]:
    """Show a batch as JSON."""
    asked = record.manifest
    view = BatchView(
        id=record.id,
        status=record.status,
        request_counts=record.counts,
        options=_shown(asked.options, "webhook"),
        metadata=asked.metadata,
        prefix=asked.prefix,
        webhook=shown_url(asked.webhook) if asked.webhook else None,
        webhook_events_filter=list(asked.webhook_events_filter) if asked.webhook_events_filter else None,
        error=record.error,
        created_at=rfc3339(asked.created_at),
        started_at=rfc3339(record.started_at) if record.started_at else None,
        completed_at=rfc3339(record.completed_at) if record.completed_at else None,
        urls=BatchUrls(
            this=url_for("batches.read", batch_id=record.id),
            cancel=url_for("batches.cancel", batch_id=record.id),
            items=url_for("batches.items", batch_id=record.id),
            jobs=url_for("jobs.listing", batch_id=record.id),
            output=url_for("batches.output", batch_id=record.id),
            errors=url_for("batches.errors", batch_id=record.id),
            deliveries=url_for("batches.deliveries", batch_id=record.id),
        ),
    )
    return view.model_dump(mode="json", by_alias=True)


def shown_input(named: dict[str, Any] | None) -> dict[str, Any] | None:
    """Show what an item names as its recording, without what may be secret in an address."""
    return None if named is None else _shown(named, "url")


def _shown(fields: dict[str, Any], address: str) -> dict[str, Any]:
    return {name: shown_url(str(value)) if name == address and value else value for name, value in fields.items()}
