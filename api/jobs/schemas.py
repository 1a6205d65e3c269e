"""A job as callers see it."""

from datetime import UTC, datetime
from typing import Annotated, Any

from flask import url_for
from pydantic import BaseModel, ConfigDict, Field, field_validator

from shared.jobs import (
    TERMINAL,
    Job,
    JobError,
    JobModel,
    JobOutput,
    OutputRequest,
    Priority,
    Progress,
    Stage,
    Status,
)
from shared.keys import source_key
from shared.outgoing import without_secrets
from shared.receipt import Receipt
from shared.webhooks.events import JobEvent, shown_url

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="RFC 3339, UTC.")]

#: Fields of a job's input that are shown where there is such a thing.
OF_SOME_INPUTS = ("key", "url")


class InputView(BaseModel):
    """The recording as it came."""

    filename: str | None
    bytes: int | None
    key: str | None = Field(None, description="For a recording that was in storage: its key.")
    url: str | None = Field(None, description="For one that is fetched: its URL without the query.")


class OptionsView(BaseModel):
    """What was asked."""

    stages: list[Stage]
    mode: int
    seed: int
    priority: Priority
    deadline_seconds: float | None
    restorer: str | None
    vocoder: str | None
    samples: int | None
    output: OutputRequest
    webhook: str | None = Field(description="Without its query, which may hold a secret.")
    webhook_events_filter: list[JobEvent] | None

    @field_validator("webhook")
    @classmethod
    def _without_query(cls, url: str | None) -> str | None:
        return None if url is None else shown_url(url)


class Metrics(BaseModel):
    """Durations in seconds; null until they are known."""

    queue_seconds: float | None = Field(description="From the request to the first worker.")
    processing_seconds: float | None = Field(description="From the first worker to the end.")
    audio_seconds: float | None = Field(description="Of the recording.")


class Urls(BaseModel):
    """Where to go on."""

    model_config = ConfigDict(populate_by_name=True)

    this: str = Field(alias="self")
    cancel: str
    events: str
    result: str
    receipt: str


class JobView(BaseModel):
    """A job."""

    id: str
    client_id: str | None = Field(description="The caller's own name of the job, if it was given one.")
    retry_of: str | None = Field(description="Id of the job that this one does again, if it does.")
    followed_by: str | None = Field(description="Id of the job that goes on with its result, if one does.")
    batch_id: str | None = Field(description="The batch that it belongs to.")
    custom_id: str | None = Field(description="What the item is called in its batch.")
    status: Status
    input: InputView
    options: OptionsView
    output: JobOutput | None = Field(description="The form of the result; null until the job has succeeded.")
    error: JobError | None = Field(description="Why the job failed; null otherwise.")
    metrics: Metrics
    metadata: dict[str, Any] = Field(description="As it was given.")
    created_at: Time
    started_at: Time | None
    completed_at: Time | None
    queue_position: int | None = Field(description="1 is next; null once the job was begun.")
    progress: Progress
    models: list[JobModel] = Field(description="The models that have worked on the job so far.")
    urls: Urls
    receipt: Receipt | None = Field(
        None,
        description="What was done and what it measures; null until the job has succeeded, and where it is gone. "
        "Lists leave it out.",
    )


class JobPage(BaseModel):
    """Jobs, youngest first."""

    jobs: list[JobView]
    next: str | None = Field(description="Address of the next page; null on the last.")


def view(job: Job, urls: Urls | None = None) -> JobView:
    """Show a job; outside of a request *urls* must be given."""
    asked = job.manifest
    options = asked.options
    return JobView(
        id=asked.id,
        client_id=asked.client_id,
        retry_of=asked.retry_of,
        followed_by=asked.then[0].id if asked.then else None,
        batch_id=asked.batch.id if asked.batch else None,
        custom_id=asked.batch.custom_id if asked.batch else None,
        status=job.status,
        input=_input(job),
        options=OptionsView.model_validate(options, from_attributes=True),
        output=job.output,
        error=job.error,
        metrics=_metrics(job),
        metadata=options.metadata,
        created_at=rfc3339(asked.created_at),
        started_at=rfc3339(job.started_at) if job.started_at else None,
        completed_at=rfc3339(job.completed_at) if job.completed_at else None,
        queue_position=job.queue_position,
        progress=job.progress,
        models=job.models,
        urls=urls or urls_of(asked.id),
    )


def dump(job: Job, urls: Urls | None = None) -> dict[str, Any]:
    """Show a job as JSON, without its receipt; of its input only what there is of `OF_SOME_INPUTS`."""
    shown = view(job, urls).model_dump(mode="json", by_alias=True, exclude={"receipt"})
    for name in OF_SOME_INPUTS:
        if shown["input"][name] is None:
            del shown["input"][name]
    return shown


def dump_whole(job: Job, receipt: Receipt | None) -> dict[str, Any]:
    """Show a single job, with its receipt."""
    return {**dump(job), "receipt": receipt.model_dump(mode="json") if receipt else None}


def etag(job: Job) -> str:
    """Name this look of a job: its id, its version, and its place while it waits, which others change."""
    look = f"{job.manifest.id[:8]}-{job.version}"
    return look if job.queue_position is None else f"{look}-{job.queue_position}"


def is_over(job: Job) -> bool:
    """Whether the job has ended."""
    return job.status in TERMINAL


def rfc3339(seconds: float) -> str:
    """Write a time since 1970 as RFC 3339 in UTC, to the microsecond."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _input(job: Job) -> InputView:
    source = job.manifest.input
    own = source.key == source_key(job.manifest.id)
    return InputView(
        filename=source.filename,
        bytes=source.bytes,
        key=None if own else source.key,
        url=without_secrets(source.url) if source.url else None,
    )


def _metrics(job: Job) -> Metrics:
    created, started, ended = job.manifest.created_at, job.started_at, job.completed_at
    return Metrics(
        queue_seconds=_between(created, started),
        processing_seconds=_between(started, ended),
        audio_seconds=job.progress.total_seconds,
    )


def _between(begin: float | None, end: float | None) -> float | None:
    # Two clocks: the API's and that of Redis.
    return None if begin is None or end is None else round(max(0.0, end - begin), 3)


def urls_of(job_id: str) -> Urls:
    """Give the addresses of a job."""
    # Without scheme and host: they hold behind any proxy.
    return Urls(
        this=url_for("jobs.read", job_id=job_id),
        cancel=url_for("jobs.cancel", job_id=job_id),
        events=url_for("watching.events", job_id=job_id),
        result=url_for("results.fetch", job_id=job_id),
        receipt=url_for("receipts.read_receipt", job_id=job_id),
    )
