"""What a job is: what may be asked, which states it passes through, what is known of it."""

import json
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictFloat,
    field_validator,
    model_validator,
)

from shared.webhooks.events import JOB_EVENTS, MOST_URL, TERMINAL_EVENTS, URL_PATTERN, JobEvent, hook
from shared.whole import Positive, Whole, whole

Stage = Literal["restore", "vocode"]

#: Characters of a model's name.
MOST_NAME = 128
#: Owner of what is asked without a key, where that is allowed.
LOCAL = "local"
Priority = Literal["interactive", "bulk"]


class Status(StrEnum):
    """The states of a job."""

    #: Accepted; no worker has touched it.
    QUEUED = "queued"
    #: At least one task has begun.
    PROCESSING = "processing"
    #: Asked to stop; a worker has yet to see it.
    CANCELING = "canceling"
    #: The result is in storage.
    SUCCEEDED = "succeeded"
    #: `error` says why.
    FAILED = "failed"
    #: Stopped on request.
    CANCELED = "canceled"
    #: Its deadline passed.
    EXPIRED = "expired"


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.EXPIRED})


def _as_list(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


class OutputRequest(BaseModel):
    """The form of the result; what is left out follows the input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["wav", "flac", "aiff", "ogg", "mp3", "npy"] | None = Field(
        None, description="Container. Default: the input's if it is WAV, FLAC or AIFF, otherwise FLAC."
    )
    sample_rate: Whole | Literal["input"] | None = Field(
        None, description="Hz, or `input`. Default: 44,100, or the input's rate if that is higher."
    )
    bit_depth: Annotated[Literal[16, 24, 32], BeforeValidator(whole)] | None = Field(
        None, description="16 and 24 are integers, 32 is float (WAV only). Default: the input's depth."
    )
    channels: Whole | Literal["input", "mono"] | None = Field(
        None, description="`mono` (or 1) mixes down before restoring. Default: the input's channels."
    )


def _only_a_mel(output: OutputRequest) -> None:
    if output.model_copy(update={"channels": None}) not in (OutputRequest(), OutputRequest(format="npy")):
        raise ValueError("stages=restore answers a mel (npy): it has no sample_rate, bit_depth or other format")


class JobOptions(BaseModel):
    """What a caller may ask of a job."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stages: Annotated[tuple[Stage, ...], BeforeValidator(_as_list)] = Field(
        ("restore", "vocode"),
        description="The chain, `restore` alone (the result is the mel, `.npy`) or `vocode` alone (the input is one).",
        json_schema_extra={"type": "array", "items": {"enum": ["restore", "vocode"]}},
    )
    mode: Annotated[Literal[0, 1, 2], BeforeValidator(whole)] = Field(
        0,
        description="VoiceFixer's mode: 0 as published, 1 cuts high frequencies first, 2 is for badly damaged speech.",
    )
    seed: Whole = Field(0, ge=0, le=2**63 - 1, description="Seed of mode 2, which is random.")
    priority: Priority = Field("interactive", description="`interactive` jobs are served before `bulk` ones.")
    deadline_seconds: StrictFloat | None = Field(
        None,
        gt=0,
        le=366 * 86_400,
        allow_inf_nan=False,
        description="Seconds from now after which the job ends as `expired` if it is not done. Default: the service's.",
    )
    restorer: str | None = Field(
        None, min_length=1, max_length=MOST_NAME, description="Name of the model for `restore`, if there are several."
    )
    vocoder: str | None = Field(
        None, min_length=1, max_length=MOST_NAME, description="Name of the model for `vocode`, if there are several."
    )
    samples: Positive | None = Field(None, description="`vocode` alone: length of the result; 441·(T−1) by default.")
    output: OutputRequest = Field(default_factory=OutputRequest)
    webhook: str | None = Field(
        None,
        max_length=MOST_URL,
        repr=False,
        description="URL that is told what becomes of the job (Standard Webhooks); http or https.",
        json_schema_extra={"pattern": URL_PATTERN},
    )
    webhook_events_filter: Annotated[tuple[JobEvent, ...] | None, BeforeValidator(_as_list)] = Field(
        None,
        description="What it is told. Default: the four ways in which a job ends.",
        json_schema_extra={
            "anyOf": [{"type": "array", "items": {"enum": list(JOB_EVENTS)}, "minItems": 1}, {"type": "null"}]
        },
    )
    metadata: dict[str, Any] = Field(default_factory=dict, description="The caller's own, given back unchanged.")

    @field_validator("webhook")
    @classmethod
    def _is_a_url(cls, url: str | None) -> str | None:
        if url is not None and not (url.isascii() and url.isprintable() and " " not in url):
            raise ValueError("must be a URL: spaces and what is not ASCII are written as %20 and the like")
        return url

    @field_validator("webhook_events_filter")
    @classmethod
    def _names_events_once(cls, events: tuple[JobEvent, ...] | None) -> tuple[JobEvent, ...] | None:
        if events == ():
            raise ValueError("must name an event, or be left out")
        return None if events is None else tuple(dict.fromkeys(events))

    @model_validator(mode="after")
    def _stages_agree(self) -> Self:
        if self.stages not in (("restore", "vocode"), ("restore",), ("vocode",)):
            raise ValueError("stages must be restore, vocode, or restore followed by vocode")
        if self.samples is not None and self.stages != ("vocode",):
            raise ValueError("samples is for stages=vocode alone; otherwise the result is as long as the input")
        if self.stages == ("restore",):
            _only_a_mel(self.output)
        elif self.output.format == "npy":
            raise ValueError("output.format npy is a mel, the result of stages=restore alone")
        if self.mode != 0 and "restore" not in self.stages:
            raise ValueError("mode is for the stage restore")
        if self.restorer is not None and "restore" not in self.stages:
            raise ValueError("restorer is for the stage restore")
        if self.vocoder is not None and "vocode" not in self.stages:
            raise ValueError("vocoder is for the stage vocode")
        if self.webhook_events_filter is not None and self.webhook is None:
            raise ValueError("webhook_events_filter is for a webhook")
        return self

    def hook(self) -> str:
        """Give the webhook as the record has it; '' for none."""
        return hook(self.webhook, self.webhook_events_filter or TERMINAL_EVENTS)


class JobInput(BaseModel):
    """Where a job's recording lies, and what its sender called it."""

    model_config = ConfigDict(frozen=True)

    key: str = Field(description="Object in storage; with a `url`, none lies there.")
    url: str | None = Field(
        None, repr=False, description="Whence a worker fetches it; its query may be a secret, and is never shown."
    )
    filename: str | None = None
    bytes: int | None = None


class BatchItem(BaseModel):
    """Which item of which batch a job is."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="Of the batch.")
    item: int = Field(description="Number of the item, from 0.")
    custom_id: str = Field(description="What the caller calls it.")


class Following(BaseModel):
    """A job that takes up the result of the one before."""

    model_config = ConfigDict(frozen=True)

    id: str
    options: JobOptions


class Manifest(BaseModel):
    """All that is needed to do a job again: written to storage before the job is accepted."""

    model_config = ConfigDict(frozen=True)

    id: str
    created_at: float = Field(description="Seconds since 1970, UTC.")
    owner: str = Field(LOCAL, description="Id of the API key that asked.")
    client_id: str | None = Field(None, description="The caller's own name of the job.")
    name: str | None = Field(None, description="Made once: hash of the owner and what the caller told it apart by.")
    retry_of: str | None = Field(None, description="Id of the job whose recording this one takes up again.")
    request: str | None = Field(None, description="Fingerprint of the request, if it came with an Idempotency-Key.")
    batch: BatchItem | None = None
    then: tuple[Following, ...] | None = Field(None, description="Jobs that go on with the result, one after another.")
    input: JobInput
    options: JobOptions


class JobError(BaseModel):
    """Why a job failed."""

    model_config = ConfigDict(frozen=True)

    code: str = Field(description="Stable, for machines.")
    message: str = Field(description="For people: what is wrong and what can be done.")
    stage: str | None = None
    attempts: int | None = Field(None, description="`chunk_failed`: how often it was tried.")
    cause: str | None = Field(None, description="`chunk_failed`: why the last attempt came to nothing.")


class JobOutput(BaseModel):
    """The form of a finished result."""

    model_config = ConfigDict(frozen=True)

    format: str
    media_type: str
    filename: str
    bytes: int
    samples: int = Field(description="Per channel; for a mel, its frames.")
    sample_rate: int | None = None
    bit_depth: int | None = None
    channels: int = 1
    gain_db: float = Field(0.0, description="Applied to the whole file, only where it would have clipped.")
    sha256: str | None = Field(None, description="Of the result, in hexadecimal digits.")
    needs_review: bool = Field(False, description="The output check found what someone should listen to.")


class Ending(BaseModel):
    """How a job ended: kept beside its objects, so that a Redis that is lost can be rebuilt."""

    model_config = ConfigDict(frozen=True)

    status: Status
    started_at: float | None = None
    completed_at: float
    result: int | None = Field(None, description="The attempt whose result counts.")
    seconds: float | None = Field(None, description="Of the recording.")
    models: dict[str, str] = Field({}, description="Stage -> who worked on it, as the record has it.")
    output: JobOutput | None = None
    error: JobError | None = None

    def document(self) -> str | None:
        """Give output or error as the record has it."""
        if self.output:
            return json.dumps({"output": self.output.model_dump()})
        return json.dumps({"error": self.error.model_dump(exclude_none=True)}) if self.error else None


class Progress(BaseModel):
    """How far a job is."""

    percent: float
    stage: str
    done_seconds: float
    total_seconds: float | None


class JobModel(BaseModel):
    """A model that worked on the job."""

    stage: Stage
    model_type: str
    weights: str | None = Field(None, description="Hash of its weights; none for a model without weights.")
    backend: str | None = Field(None, description="Library that ran it.")
    precision: str | None = Field(None, description="What it computed in: fp32, tf32, bf16 or fp16.")
    device: str | None = Field(None, description="Device of the worker that ran it: cpu, cuda or cuda:N.")


class Job(BaseModel):
    """A job as its record tells it."""

    manifest: Manifest
    status: Status
    version: int
    event: str | None = None
    started_at: float | None = None
    completed_at: float | None = None
    progress: Progress
    queue_position: int | None = None
    models: list[JobModel] = []
    result_key: str | None = None
    receipt_key: str | None = None
    output: JobOutput | None = None
    error: JobError | None = None
