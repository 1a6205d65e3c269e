"""Requests and answers as Harmony Speech Engine has them. Fields that are unknown are ignored."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.catalog import CHAIN
from shared.whole import Whole

OWNER = "harmony-ai-solutions"
_BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"


class OutputOptions(BaseModel):
    """The form of what comes out."""

    model_config = ConfigDict(strict=True)

    format: str | None = Field(
        "wav",
        description="wav, flac, aiff, ogg or mp3; of a restorer alone also npy (its mel), which is what it answers "
        "without this.",
    )
    sample_rate: Whole | None = Field(None, description="Hz. Default: 44,100.")
    stream: bool | None = Field(False, description="Answer the bytes themselves instead of JSON.")


class ConvertRequest(BaseModel):
    """What is to be restored, and by which model."""

    model_config = ConfigDict(strict=True)

    model: str = Field("", description=f"`{CHAIN}`, or the name of a restorer or a vocoder of this service.")
    source_audio: str = Field(
        "",
        json_schema_extra={"contentEncoding": "base64", "pattern": _BASE64},
        description="Base64 of an audio file; for a vocoder, of the `.npy` of a mel `[T, 128]` or `[C, T, 128]`.",
    )
    output_options: OutputOptions | None = None
    pre_processing_filters: "list[ConvertRequest] | None" = Field(
        [], description="Requests that run first, one after another, on the same audio; theirs is not looked at."
    )


class ConvertAnswer(BaseModel):
    """What came out."""

    id: str = Field(pattern="^ac-[0-9a-f]{32}$", description="`ac-` and the id of the job that made it.")
    model: str
    created: int = Field(description="Seconds since 1970.")
    data: str = Field(description="Base64 of a file: WAV, PCM_16, 44.1 kHz unless something else was asked for.")


class ModelCard(BaseModel):
    """A model that may be asked for."""

    id: str
    object: Literal["toolchain", "model"]
    created: int
    owned_by: str
    languages: list[str]
    root: str
    parent: str | None


class ModelList(BaseModel):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
