"""Objects that clients send to S3 themselves, in parts, by signed URLs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from shared.errors import ObjectMissing
from shared.storage.faults import error_code, translated
from shared.storage.interface import PartInfo
from shared.storage.multipart import end_upload

#: What servers say of an upload that was finished or ended: Swift names the object of one that was finished.
GONE = ("NoSuchUpload", "NoSuchKey")


class S3PartUploads:
    """PartUploads of a bucket; `sign` and `name` are those of its store."""

    def __init__(self, client: Any, sign: Callable[..., str], bucket: str, name: Callable[[str], str]) -> None:
        self._client = client
        self._sign = sign
        self._bucket = bucket
        self._name = name

    def begin(self, key: str, *, content_type: str | None = None) -> str:
        """See PartUploads."""
        given = {"ContentType": content_type} if content_type else {}
        with translated(self._bucket, key):
            answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._name(key), **given)
        return str(answer["UploadId"])

    def sign(self, key: str, upload: str, number: int, *, size: int, expires: int) -> str:
        """See PartUploads. Who uses it must send this very Content-Length."""
        return self._sign("upload_part", key, expires, UploadId=upload, PartNumber=number, ContentLength=size)

    def arrived(self, key: str, upload: str) -> dict[int, PartInfo] | None:
        """See PartUploads."""
        where = self._where(key, upload)
        found: dict[int, PartInfo] = {}
        with translated(self._bucket, key):
            try:
                for page in self._client.get_paginator("list_parts").paginate(**where):
                    for part in page.get("Parts", []):
                        found[part["PartNumber"]] = PartInfo(part["Size"], part["ETag"].strip('"'))
            except ClientError as error:
                if error_code(error) not in GONE:
                    raise
                return None
        return found

    def finish(self, key: str, upload: str, parts: Mapping[int, str]) -> None:
        """See PartUploads."""
        listed = [{"PartNumber": number, "ETag": f'"{parts[number]}"'} for number in sorted(parts)]
        with translated(self._bucket, key):
            try:
                self._client.complete_multipart_upload(**self._where(key, upload), MultipartUpload={"Parts": listed})
            except ClientError as error:
                if error_code(error) not in GONE:
                    raise

    def abort(self, key: str, upload: str) -> None:
        """See PartUploads."""
        with suppress(ObjectMissing), translated(self._bucket, key):
            end_upload(self._client, **self._where(key, upload))

    def _where(self, key: str, upload: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._name(key), "UploadId": upload}
