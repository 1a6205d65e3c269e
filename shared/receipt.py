"""The receipt of a job: what came in, what went out, what was done between, and whether someone should listen to it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.jobs import OutputRequest, Stage

ReviewCode = Literal["silence", "noise", "not_finite", "energy", "length", "clipping"]


class Levels(BaseModel):
    """What audio measures. A figure is null where there is none: of silence, or of what is too short for it."""

    model_config = ConfigDict(frozen=True)

    loudness_lufs: float | None = Field(
        None, description="Integrated loudness (ITU-R BS.1770-4, EBU R128), every channel with weight 1; from 0.4 s on."
    )
    true_peak_dbtp: float | None = Field(
        None, description="Highest peak of all channels, four times oversampled (BS.1770-4, annex 2)."
    )
    noise_floor_dbfs: float | None = Field(
        None,
        description="Level that 10 % of all 50 ms frames stay below, RMS over the channels; null below -120 dBFS.",
    )
    rms_dbfs: float | None = Field(None, description="RMS of all samples.")
    channel_peaks_dbfs: list[float | None] = Field(default_factory=list, description="Highest sample of each channel.")
    clipped_share: float = Field(0.0, description="Share of samples in runs of three or more at full scale.")
    flatness: float | None = Field(
        None, description="Spectral flatness of the long-term spectrum, from 0 (a tone) to 1 (white noise)."
    )
    not_finite: int = Field(0, description="Samples that are NaN or infinite; measured as 0.")


class Sound(BaseModel):
    """One side of a job: the recording as it was sent, or the result."""

    model_config = ConfigDict(frozen=True)

    filename: str | None
    sha256: str = Field(description="Of the whole file.")
    bytes: int
    format: str = Field(description="Container, such as wav, flac or mp4; npy for a mel.")
    codec: str | None = Field(None, description="Codec or subtype, such as pcm_16, float, vorbis or aac.")
    sample_rate: int | None = Field(None, description="Hz.")
    bit_depth: int | None = Field(None, description="Null for lossy codecs.")
    channels: int
    samples: int | None = Field(None, description="Per channel; null for a mel.")
    frames: int | None = Field(None, description="Of a mel; null for audio.")
    seconds: float
    levels: Levels | None = Field(None, description="Null for a mel.")
    mel_peak: float | None = Field(None, description="Highest magnitude of a mel; null for audio.")
    not_finite: int = Field(0, description="Values of a mel that are NaN or infinite.")


class Software(BaseModel):
    """What made the result."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str


class Parameters(BaseModel):
    """What was asked, and the gain that came of it."""

    model_config = ConfigDict(frozen=True)

    stages: list[Stage]
    mode: int
    seed: int
    samples: int | None
    output: OutputRequest
    gain_db: float = Field(description="Applied to the whole file, only where it would have clipped.")


class ReceiptModel(BaseModel):
    """A model that worked on the job; if several workers had different ones, there is an entry for each."""

    model_config = ConfigDict(frozen=True)

    stage: Stage
    model_type: str
    weights_sha256: list[str] = Field(description="Of each checkpoint file; empty for a model without weights.")
    backend: str | None
    precision: str | None
    device: str | None
    seconds: float = Field(description="That workers spent on the stage with this model.")


class StageSeconds(BaseModel):
    """Seconds that workers spent on each stage, added up over all windows; null where there was none."""

    model_config = ConfigDict(frozen=True)

    split: float | None = None
    restore: float | None = None
    vocode: float | None = None
    stitch: float | None = Field(None, description="Until the receipt was written.")


class Reason(BaseModel):
    """Why someone should listen to a result."""

    model_config = ConfigDict(frozen=True)

    code: ReviewCode
    detail: str = Field(description="For people, with the figures.")


class Check(BaseModel):
    """What the output check found."""

    model_config = ConfigDict(frozen=True)

    needs_review: bool
    reasons: list[Reason] = []


class Receipt(BaseModel):
    """The receipt of a job that has succeeded. Times are RFC 3339 in UTC."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    created_at: str = Field(description="When the job was asked for.", json_schema_extra={"format": "date-time"})
    written_at: str = Field(
        description="When the result was complete, by the worker's clock.", json_schema_extra={"format": "date-time"}
    )
    software: Software
    parameters: Parameters
    source: Sound
    result: Sound
    models: list[ReceiptModel]
    seconds: StageSeconds
    check: Check
