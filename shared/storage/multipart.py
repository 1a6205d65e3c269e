"""Writing an object of unknown length to S3, one part in memory at a time."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

from shared.errors import StorageError
from shared.storage.faults import translated
from shared.storage.interface import MIB, ObjectInfo

MIN_PART = 5 * MIB  # S3 refuses smaller ones, the last excepted
MAX_PARTS = 10_000
EQUAL_PARTS = 5_000  # some servers want parts of one size, so it grows only when it must
DOUBLED_EVERY = 1_000

log = logging.getLogger(__name__)


def part_length(number: int, base: int) -> int:
    """
    Return the bytes of part `number` (from 1): `base`, doubled with every thousand parts after 5,000.

    With the smallest base, 10,000 parts so hold 350 GB, and with the default 560 GB.
    """
    return int(base * 2 ** max(0, (number - 1 - EQUAL_PARTS) // DOUBLED_EVERY + 1))


class S3Writer:
    """An ObjectWriter that becomes a multipart upload once there is more than one part."""

    def __init__(
        self, client: Any, bucket: str, name: str, *, key: str, content_type: str | None, part_size: int
    ) -> None:
        if part_size < MIN_PART:
            raise ValueError(f"part_size must be at least {MIN_PART} bytes")
        self._client = client
        self._key = key
        self._where = {"Bucket": bucket, "Key": name}
        self._headers = {"ContentType": content_type} if content_type else {}
        self._part_size = part_size
        self._buffer = bytearray()
        self._upload: str | None = None
        self._parts: list[dict[str, Any]] = []
        self._size = 0
        self._open = True

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """See ObjectWriter."""
        self._check_open()
        rest = memoryview(data).cast("B")
        length = len(rest)
        while rest:
            room = part_length(len(self._parts) + 1, self._part_size) - len(self._buffer)
            if not room:
                self._send_part()
                continue
            self._buffer += rest[:room]
            rest = rest[room:]
        self._size += length
        return length

    def commit(self) -> ObjectInfo:
        """See ObjectWriter."""
        self._check_open()
        info = self._put_whole() if self._upload is None else self._complete()
        self._open = False
        return info

    def abort(self) -> None:
        """See ObjectWriter."""
        self._open, upload, self._upload = False, self._upload, None
        self._buffer = bytearray()
        if upload is None:
            return
        try:
            with translated(self._where["Bucket"], self._key):
                self._client.abort_multipart_upload(**self._where, UploadId=upload)
        except StorageError as error:  # what went wrong before matters more to the caller
            log.warning("an unfinished upload of %s stays until it is swept: %s", self._key, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open:
            self.abort()

    def _check_open(self) -> None:
        if not self._open:
            raise ValueError("the object was committed or aborted already")

    def _put_whole(self) -> ObjectInfo:
        with translated(self._where["Bucket"], self._key):
            answer = self._client.put_object(**self._where, Body=self._buffer, **self._headers)
        return ObjectInfo(self._key, self._size, answer["ETag"].strip('"'), _answered_at(answer))

    def _send_part(self) -> None:
        number = len(self._parts) + 1
        if number > MAX_PARTS:
            raise StorageError(f"The object {self._key!r} has more than {MAX_PARTS} parts; use larger ones.")
        with translated(self._where["Bucket"], self._key):
            if self._upload is None:
                answer = self._client.create_multipart_upload(**self._where, **self._headers)
                self._upload = answer["UploadId"]
            sent = self._client.upload_part(**self._where, UploadId=self._upload, PartNumber=number, Body=self._buffer)
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})
        self._buffer = bytearray()

    def _complete(self) -> ObjectInfo:
        self._send_part()
        with translated(self._where["Bucket"], self._key):
            self._client.complete_multipart_upload(
                **self._where, UploadId=self._upload, MultipartUpload={"Parts": self._parts}
            )
            # The answer's own ETag is empty on some servers.
            info = describe(self._key, self._client.head_object(**self._where))
        self._upload = None
        if info.size != self._size:
            raise StorageError(f"Storage holds {info.size} of the {self._size} bytes of {self._key!r}.")
        return info


def describe(key: str, answer: dict[str, Any]) -> ObjectInfo:
    """Make an ObjectInfo of the answer to HeadObject."""
    modified = answer["LastModified"].astimezone(UTC)
    return ObjectInfo(key, answer["ContentLength"], answer["ETag"].strip('"'), modified)


def _answered_at(answer: dict[str, Any]) -> datetime:
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(date) if date else datetime.now(UTC)
