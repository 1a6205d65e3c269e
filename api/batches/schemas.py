"""Batches as callers ask for them and see them."""

from typing import Any

from flask import url_for
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.options import InputReference
from api.schemas import Time, rfc3339
from shared.batches.model import BatchRecord, BatchStatus, Counts, ItemFault
from shared.jobs import Status


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
    # WEBHOOK: checked and called where webhooks are (see shared/records/lua/batches.lua).
    webhook: str | None = Field(None, max_length=2048, description="Where to tell that the batch is over.")
    webhook_events_filter: list[str] | None = Field(None, max_length=16, description="Which events to tell.")


class BatchItemRequest(BaseModel):
    """An item: a job, and what the caller calls it. Options stand beside these or in `options`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    custom_id: str = Field(description="1 to 1,024 characters; each once in a batch.")
    input: InputReference
    options: dict[str, JsonValue] = Field(default_factory=dict)


class BatchRequest(BatchHead):
    """A batch as JSON: items, a prefix in storage, a list in storage, or none yet."""

    items: list[BatchItemRequest] | None = Field(None, description="A few items.")
    prefix: str | None = Field(None, description="Every object under this prefix is an item; its key is `custom_id`.")
    input: InputReference | None = Field(None, description="A list of items as JSONL that is in storage.")
    open: bool = Field(False, description="Items follow one by one, until the batch is closed.")


class ItemsRequest(BaseModel):
    """More items of an open batch."""

    items: list[BatchItemRequest]


class BatchUrls(BaseModel):
    """Where to go on."""

    model_config = ConfigDict(populate_by_name=True)

    this: str = Field(alias="self")
    cancel: str
    items: str
    jobs: str
    output: str
    errors: str


class BatchView(BaseModel):
    """A batch."""

    id: str
    status: BatchStatus
    request_counts: Counts
    options: dict[str, JsonValue]
    metadata: dict[str, JsonValue]
    prefix: str | None
    webhook: str | None
    webhook_events_filter: list[str] | None
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
        options=asked.options,
        metadata=asked.metadata,
        prefix=asked.prefix,
        webhook=asked.webhook,
        webhook_events_filter=asked.webhook_events_filter,
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
        ),
    )
    return view.model_dump(mode="json", by_alias=True)
