"""Uploads as callers ask for them and see them."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from api.jobs.schemas import Time, rfc3339
from shared.records import Upload
from shared.storage.interface import MAX_PARTS
from shared.whole import Whole

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}(; ?[A-Za-z0-9_-]+=[A-Za-z0-9._-]+)*")


class UploadRequest(BaseModel):
    """What will be sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    filename: str = Field(min_length=1, max_length=1024, description="Name of the recording.")
    bytes: Whole = Field(ge=1, description="Its size; exactly so many are taken.")
    content_type: str | None = Field(
        None,
        max_length=255,
        description="To be sent as Content-Type.",
        json_schema_extra={"pattern": f"^{_MEDIA_TYPE.pattern}$"},
    )
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-fA-F]{64}$", description="Of all its bytes, hexadecimal; what differs is refused."
    )

    @field_validator("content_type")
    @classmethod
    def _is_a_media_type(cls, value: str | None) -> str | None:
        if value is not None and not _MEDIA_TYPE.fullmatch(value):
            raise ValueError("must be a media type such as audio/wav")
        return value

    @field_validator("sha256")
    @classmethod
    def _in_lower_case(cls, value: str | None) -> str | None:
        return value.lower() if value else value


class PartTag(BaseModel):
    """A part as it was answered to its sender."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: Whole = Field(ge=1, le=MAX_PARTS)
    etag: str = Field(min_length=1, max_length=100, description="The header ETag, with its quotes or without.")


def _no_more_than_there_may_be(parts: list[PartTag]) -> list[PartTag]:
    if len(parts) > MAX_PARTS:
        raise ValueError(f"an upload has {MAX_PARTS} parts at most")
    return parts


class CompleteRequest(BaseModel):
    """Which parts make the recording; without them, all that has arrived."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parts: Annotated[list[PartTag], AfterValidator(_no_more_than_there_may_be)] | None = None


class ReceivedPart(BaseModel):
    """A part that has arrived."""

    number: int
    bytes: int
    etag: str


class PartView(BaseModel):
    """Where one part is to be sent."""

    number: int
    bytes: int = Field(description="Its size, exactly.")
    method: Literal["PUT"] = "PUT"
    url: str = Field(description="Absolute; needs no key, so keep it to yourself.")
    headers: dict[str, str] = Field(description="To be sent with it.")


class PartPage(BaseModel):
    """Parts in their order."""

    parts: list[PartView]
    next: str | None = Field(description="Address of the next page; null on the last.")


class UploadUrls(BaseModel):
    """Where to go on."""

    model_config = ConfigDict(populate_by_name=True)

    this: str = Field(alias="self")
    parts: str
    complete: str


class UploadView(BaseModel):
    """An upload."""

    id: str
    status: Literal["pending", "completed"] = Field(description="A job can name one that is completed.")
    filename: str
    bytes: int
    content_type: str | None
    sha256: str | None
    created_at: Time
    expires_at: Time
    method: Literal["PUT"] | None = Field(description="Of the one request that sends it; null if it comes in parts.")
    url: str | None = Field(description="The same: where to. Absolute; needs no key, so keep it to yourself.")
    headers: dict[str, str] | None = Field(description="The same: what to send with it.")
    part_size: int | None = Field(description="Bytes of each part but the last; null if it comes in one piece.")
    part_count: int
    received: list[ReceivedPart] = Field(description="The parts that have arrived; empty once it is completed.")
    etag: str | None = Field(description="Of the whole, once it is completed.")
    urls: UploadUrls


def view(upload: Upload, *, put: PartView | None, received: list[ReceivedPart], urls: UploadUrls) -> UploadView:
    """Show an upload; *put* is where it is sent if it comes in one piece."""
    return UploadView(
        id=upload.id,
        status=upload.status,
        filename=upload.filename,
        bytes=upload.size,
        content_type=upload.content_type,
        sha256=upload.sha256,
        created_at=rfc3339(upload.created),
        expires_at=rfc3339(upload.expires),
        method=put.method if put else None,
        url=put.url if put else None,
        headers=put.headers if put else None,
        part_size=upload.part_size or None,
        part_count=upload.parts,
        received=received,
        etag=upload.etag,
        urls=urls,
    )
