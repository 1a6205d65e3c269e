"""Every setting of the service, read from the environment under one prefix, ``VFQ_``."""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import redis
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.errors import SettingsError
from shared.outgoing.allow import AllowList

PREFIX = "VFQ_"
#: Variables with the same prefix that are read elsewhere: the server that commands talk to, and their key.
NOT_SETTINGS = ("VFQ_SERVER", "VFQ_API_KEY")

RestorerType = Literal["VoiceFixerRestorer", "SpectralGateRestorer"]
BackendName = Literal["auto", "torch", "numba", "openvino", "cuda"]
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
VocoderType = Literal["VoiceFixerVocoder", "GriffinLimVocoder"]


def _split_commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _redis_url(value: str) -> str:
    try:
        redis.ConnectionPool.from_url(value)
    except ValueError:  # its text would show the URL, which may hold a password
        raise ValueError("must be redis://host:port/number, rediss://… or unix:///path") from None
    return value


def _allow_list(value: tuple[str, ...]) -> tuple[str, ...]:
    AllowList.of(value)
    return value


RedisUrl = Annotated[str, AfterValidator(_redis_url)]


def _public_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("must be https://host or https://host/path, as clients reach the API")
    return value.rstrip("/")


class Settings(BaseSettings):
    """The settings of all processes; each reads those that it needs.

    Lengths of windows are in mel frames of 10 ms (441 samples at 44.1 kHz).
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", allow_inf_nan=False)

    # Where state and audio live.
    redis_url: RedisUrl = Field("redis://127.0.0.1:6379/0", repr=False, description="Redis with the job records.")
    broker_url: RedisUrl | None = Field(
        None, repr=False, description="Redis for Celery's messages; the same Redis by default."
    )
    key_prefix: str = Field("vfq:", pattern=r"^[A-Za-z0-9_.:-]+$", description="Begins every key in Redis.")
    storage_url: str = Field("file:///var/lib/voicefixer-queue", description="file:///folder or s3://bucket/prefix.")
    s3_endpoint: str | None = Field(None, description="URL of the S3 server as workers and API reach it.")
    s3_public_endpoint: str | None = Field(None, description="URL of the S3 server as clients reach it.")
    s3_region: str | None = Field(None, description="Region that requests are signed for.")
    s3_access_key: SecretStr | None = Field(None, description="Access key; without it boto3's own chain is asked.")
    s3_secret_key: SecretStr | None = Field(None, description="Secret key.")

    # What is let in.
    max_upload_bytes: int = Field(2 * 1024**3, ge=1, description="Largest upload; beyond it the door answers 413.")
    max_duration_seconds: float = Field(12 * 3600.0, gt=0, description="Longest recording.")
    max_open_interactive: int = Field(1000, ge=1, description="Interactive jobs not over at once; beyond: 429.")
    max_open_bulk: int = Field(10_000, ge=1, description="Bulk jobs that are not over at once; beyond it 429.")
    max_redis_share: float = Field(
        0.6, gt=0, le=1, description="Share of Redis's `maxmemory` beyond which no job is taken in: 503."
    )
    max_metadata_bytes: int = Field(4096, ge=0, description="Largest `metadata` object of a job, as JSON.")
    input_prefixes: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)] = Field(
        ("incoming/",), description="Prefixes in storage whose objects a JSON job may name, comma separated."
    )

    # Batches.
    max_batch_items: int = Field(50_000, ge=1, le=1_000_000, description="Most items of a batch.")
    max_open_batches: int = Field(100, ge=0, description="Batches of one key that are not over; beyond: 429. 0: any.")
    batch_window: int = Field(100, ge=1, le=1000, description="Jobs of one batch that are open at once.")

    # Which URLs of others are called.
    outgoing_allow: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(_split_commas), AfterValidator(_allow_list)
    ] = Field(
        (),
        description="Names, addresses and networks inside that URLs may lead to, `:port` or not, comma separated.",
    )
    input_url_seconds: float = Field(600.0, gt=0, description="Longest download of a recording from its `input.url`.")
    input_url_attempts: int = Field(6, ge=1, description="Tries of one whose server is away; then its job fails.")

    # Who is let in.
    auth: Literal["auto", "keys", "open"] = Field(
        "auto",
        description="`keys`: only who has a key. `open`: anyone. `auto`: while there is no key, this machine alone.",
    )
    submits_per_minute: int = Field(1200, ge=0, description="Changes that a key may ask for a minute; 0: any number.")
    reads_per_minute: int = Field(12_000, ge=0, description="Reads that a key may ask for a minute; 0: any number.")
    max_open_per_key: int = Field(2000, ge=0, description="Unfinished jobs of one key; beyond: 429. 0: any number.")

    # What goes past the API, between clients and storage.
    uploads: Literal["auto", "direct", "proxy"] = Field(
        "auto",
        description="`direct`: uploads go to S3 itself. `proxy`: through the API. `auto`: to S3 if clients reach it.",
    )
    results: Literal["auto", "redirect", "proxy"] = Field(
        "auto",
        description="`redirect`: results are fetched from S3. `proxy`: from the API. `auto`: S3 if clients reach it.",
    )
    public_url: Annotated[str, AfterValidator(_public_url)] | None = Field(
        None, description="URL of the API as clients reach it, for signed URLs; by default what a request names."
    )
    signing_key: SecretStr | None = Field(
        None, min_length=32, description="Signs the API's own upload URLs; by default one is made and kept in Redis."
    )
    upload_part_bytes: int = Field(
        64 * 1024**2, ge=5 * 1024**2, le=5 * 1024**3, description="A larger upload comes in parts of so many bytes."
    )
    upload_hours: float = Field(24.0, gt=0, le=168, description="An upload is deleted then, finished or not.")
    upload_url_seconds: int = Field(3600, ge=1, le=604_800, description="URLs to send to hold for so long.")
    result_url_seconds: int = Field(300, ge=1, le=604_800, description="URLs that results redirect to, for so long.")
    max_uploads_per_key: int = Field(1000, ge=1, description="Uploads of one key that there may be at once.")

    # How a recording is cut.
    core_frames: int = Field(47 * 64, ge=64, description="New frames of one window; a multiple of 64.")
    context_frames: int = Field(10 * 64, ge=0, description="Frames the restorer sees beyond them on each side.")
    halo_frames: int = Field(580, ge=0, description="Frames the vocoder sees beyond them on each side.")
    fade_frames: int = Field(64, ge=0, description="Half the cross-fade between windows in mode 2.")
    in_flight: int = Field(4, ge=1, description="Most chunks of one job in the queues at once.")

    # Which models, and how they run.
    config: Annotated[str | None, BeforeValidator(lambda value: value or None)] = Field(
        None, description="A `config.yml` of Harmony Speech Engine that names models; workers and API need the same."
    )
    restorer: RestorerType = Field("VoiceFixerRestorer", description="Model of the stage `restore`.")
    vocoder: VocoderType = Field("VoiceFixerVocoder", description="Model of the stage `vocode`.")
    weights_dir: str | None = Field(None, description="Folder with vf.ckpt and the vocoder's file; asked first.")
    weights_revision: str | None = Field(None, description="Revision of the hub repository.")
    weights_unverified: bool = Field(False, description="Load weights whose md5 is not the published one.")
    griffin_lim_iterations: int = Field(32, ge=1, le=100, description="Iterations of GriffinLimVocoder.")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N.")
    backend: BackendName = Field("auto", description="Library that runs the networks; auto takes the fastest here.")
    precision: Precision = Field(
        "fp32", description="What the networks compute in: fp32 (equal output), tf32 and fp16 (CUDA), bf16."
    )
    threads: int = Field(0, ge=0, description="Threads of the networks on a CPU; 0 leaves the choice to torch.")
    nice: int = Field(10, ge=0, le=19, description="Niceness of model workers: who answers callers goes first.")
    model_threads: int = Field(0, ge=0, description="Batches computed at once; 0: two on CUDA, 1 to 4 on a CPU.")
    max_batch_size: int = Field(1, ge=1, description="Most windows of one length in one pass.")
    max_wait_ms: float = Field(5.0, ge=0, description="Longest wait for a batch to fill.")
    batch_deadline_seconds: float = Field(900.0, gt=0, description="A pass that takes longer ends the process.")
    mel_handover: Literal["storage", "memory"] = Field(
        "storage",
        description="`storage` writes every mel; `memory` does not while one worker alone vocodes.",
    )
    mel_memory_mib: int = Field(32, ge=0, description="Mels kept in memory by a worker that serves both stages.")
    audio_concurrency: int = Field(2, ge=1, description="Splits and stitches at once in an audio worker.")
    visibility_timeout: int = Field(60, ge=5, description="Seconds until a message that nobody began comes again.")

    # What holds when something fails, and for how long things are kept.
    lease_seconds: float = Field(6.0, ge=1, description="A piece whose worker was not heard of so long is sent again.")
    max_attempts: int = Field(3, ge=1, description="Attempts at a piece that may come to nothing; then its job fails.")
    piece_deadline_seconds: float = Field(3600.0, gt=0, description="A piece that takes longer ends its process.")
    drain_seconds: float = Field(60.0, ge=0, description="After SIGTERM, what is not done by then is handed back.")
    deadline_seconds: float = Field(
        7 * 86_400.0, gt=0, description="Default of a job's `deadline_seconds`, after which it ends as `expired`."
    )
    keep_results_days: float = Field(7.0, ge=0, description="Recordings and results are deleted then; 0: never.")
    keep_records_days: float = Field(30.0, ge=0, description="Jobs that are over are forgotten then; 0: never.")
    orphan_seconds: float = Field(3600.0, ge=1, description="Age at which objects without a job are looked after.")

    # Who is called back.
    webhook_schedule: Annotated[tuple[float, ...], NoDecode, BeforeValidator(_split_commas)] = Field(
        (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400),
        description="Seconds before each attempt at a delivery, after the one before; the first is made at once.",
    )
    webhook_timeout_seconds: float = Field(15.0, gt=0, description="A receiver that has not answered by then failed.")
    webhook_concurrency: int = Field(64, ge=1, description="Deliveries that an audio worker sends at once.")
    webhook_per_host: int = Field(4, ge=1, description="Of them, to one host and port; one while it gives no answer.")
    webhook_secret_grace_seconds: float = Field(
        86_400.0, ge=0, description="After a secret was rotated, the old one is signed with for so long too."
    )
    webhook_keep_days: float = Field(3.0, gt=0, description="Deliveries that are over are forgotten then.")
    webhook_max_endpoints: int = Field(20, ge=1, description="Endpoints that one key may register.")

    # How callers reach it, and what is written down.
    api_host: str = Field("127.0.0.1", description="Address the API listens on.")
    api_port: int = Field(8000, ge=1, le=65535, description="Port the API listens on.")
    api_threads: int = Field(64, ge=1, description="Requests served at once.")
    api_watchers: int = Field(
        48, ge=0, description="Of them, those that wait or stream; never more than three quarters of all."
    )
    convert_seconds: float = Field(
        600.0, gt=0, description="Longest that `POST /v1/audio/convert` waits for its job, which goes on after it."
    )
    convert_max_bytes: int = Field(
        128 * 1024**2, ge=1, description="Largest recording in such a request, without its base64; beyond it 413."
    )
    max_wait_seconds: float = Field(60.0, ge=0, description="Longest that `Prefer: wait` holds an answer back.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level written.")
    log_format: Literal["console", "json"] = Field("console", description="Lines for people or for machines.")

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        for name in ("core_frames", "context_frames"):
            if getattr(self, name) % 64:
                raise ValueError(f"{PREFIX}{name.upper()} must be a multiple of 64 frames, the restorer's grid")
        if self.fade_frames > min(self.context_frames, self.core_frames // 2):
            raise ValueError(f"{PREFIX}FADE_FRAMES must fit into {PREFIX}CONTEXT_FRAMES and half {PREFIX}CORE_FRAMES")
        if self.in_flight < 2 * self.max_batch_size:
            raise ValueError(f"{PREFIX}IN_FLIGHT must be at least twice {PREFIX}MAX_BATCH_SIZE")
        if self.keep_results_days and not 0 < self.keep_results_days <= (self.keep_records_days or float("inf")):
            raise ValueError(f"{PREFIX}KEEP_RECORDS_DAYS must not be less than {PREFIX}KEEP_RESULTS_DAYS")
        if self.keep_records_days and not self.keep_results_days:
            raise ValueError(f"{PREFIX}KEEP_RESULTS_DAYS must be set where {PREFIX}KEEP_RECORDS_DAYS is")
        return self

    @field_validator("webhook_schedule")
    @classmethod
    def _begins_at_once(cls, schedule: tuple[float, ...]) -> tuple[float, ...]:
        if not schedule or schedule[0] != 0 or min(schedule) < 0:
            raise ValueError("must be seconds with commas between them, 0 first: the first attempt is made at once")
        return schedule

    @cached_property
    def celery_url(self) -> str:
        """URL of the broker: its own, or that of the records."""
        return self.broker_url or self.redis_url


def load_settings(**overrides: object) -> Settings:
    """Read the settings from the environment; *overrides* (the command line's) win.

    Raises:
        SettingsError: in one sentence that names each wrong variable and what it must be.
    """
    _refuse_unknown(os.environ)
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(problem) for problem in error.errors())) from None


def _refuse_unknown(environment: Iterable[str]) -> None:
    """A slip in a name would leave the default in force, unseen."""
    known = [*(f"{PREFIX}{name.upper()}" for name in Settings.model_fields), *NOT_SETTINGS]
    for name in environment:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            meant = get_close_matches(name.upper(), known, n=1)
            hint = f"; did you mean {meant[0]}?" if meant else "."
            raise SettingsError(f"{name} is no setting{hint}")


def _explain(problem: ErrorDetails) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    location = ".".join(str(part) for part in problem["loc"])
    if not location:
        return message
    return f"{PREFIX}{location.upper()}: {message[0].lower()}{message[1:]}"
