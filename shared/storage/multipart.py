"""Writing an object of unknown length to S3, one part in memory at a time."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

from botocore.exceptions import ClientError

from shared.errors import ObjectMissing, StorageError
from shared.storage.faults import ended_elsewhere, error_code, translated
from shared.storage.interface import MAX_PARTS, MIB, ObjectInfo

MIN_PART = 5 * MIB  # S3 refuses smaller ones, the last excepted
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
        self._bucket = bucket
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
            with translated(self._bucket, self._key):
                end_upload(self._client, **self._where, UploadId=upload)
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
        with translated(self._bucket, self._key):
            answer = self._client.put_object(**self._where, Body=self._buffer, **self._headers)
        return ObjectInfo(self._key, self._size, answer["ETag"].strip('"'), _answered_at(answer))

    def _send_part(self) -> None:
        number = len(self._parts) + 1
        if number > MAX_PARTS:
            raise StorageError(f"The object {self._key!r} has more than {MAX_PARTS} parts; use larger ones.")
        with translated(self._bucket, self._key):
            if self._upload is None:
                answer = self._client.create_multipart_upload(**self._where, **self._headers)
                self._upload = answer["UploadId"]
            sent = self._client.upload_part(**self._where, UploadId=self._upload, PartNumber=number, Body=self._buffer)
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})
        self._buffer = bytearray()

    def _complete(self) -> ObjectInfo:
        self._send_part()
        try:
            with translated(self._bucket, self._key):
                known = self._ask_to_complete()
                # The answer to the completion has an empty ETag on some servers.
                info = describe(self._key, self._client.head_object(**self._where))
        except ObjectMissing as error:
            raise ended_elsewhere(self._key) from error
        if not known and info.etag != self._expected_etag():
            raise ended_elsewhere(self._key)
        if info.size != self._size:
            raise StorageError(f"Storage holds {info.size} of the {self._size} bytes of {self._key!r}.")
        return info

    def _ask_to_complete(self) -> bool:
        """Complete the upload; False if the server no longer knows it, as when boto3 asks again after a time-out."""
        parts = {"Parts": self._parts}
        try:
            self._client.complete_multipart_upload(**self._where, UploadId=self._upload, MultipartUpload=parts)
            known = True
        except ClientError as error:
            if error_code(error) != "NoSuchUpload":
                raise
            known = False
        self._upload = None
        return known

    def _expected_etag(self) -> str | None:
        """What S3 makes of the parts' MD5 sums: their MD5 and their number."""
        sums = "".join(part["ETag"].strip('"') for part in self._parts)
        try:
            whole = hashlib.md5(bytes.fromhex(sums), usedforsecurity=False).hexdigest()
        except ValueError:  # encrypted parts have other tags
            return None
        return f"{whole}-{len(self._parts)}"


def end_upload(client: Any, **upload: str) -> None:
    """Drop an unfinished upload (Bucket, Key, UploadId); one that has ended by itself is no error."""
    try:
        client.abort_multipart_upload(**upload)
    except ClientError as error:
        if error_code(error) != "NoSuchUpload":
            raise


def describe(key: str, answer: dict[str, Any]) -> ObjectInfo:
    """Make an ObjectInfo of the answer to HeadObject."""
    modified = answer["LastModified"].astimezone(UTC)
    return ObjectInfo(key, answer["ContentLength"], answer["ETag"].strip('"'), modified)


def _answered_at(answer: dict[str, Any]) -> datetime:
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(date) if date else datetime.now(UTC)
