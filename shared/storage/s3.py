"""Objects in a bucket of an S3-compatible server."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from shared.errors import ObjectMissing, SettingsError, StorageError
from shared.storage.faults import error_code, translated
from shared.storage.interface import CHUNK_SIZE, MIB, PART_SIZE, ObjectInfo
from shared.storage.keys import check_key, check_prefix, is_key
from shared.storage.multipart import S3Writer, describe, end_upload
from shared.storage.ranged import RangedFile
from shared.storage.streams import ByteStream, Nothing, check_range

DEFAULT_REGION = "us-east-1"  # what servers other than AWS expect
CONNECTIONS = 80  # more than the threads of any of our processes
LONGEST_SIGNATURE = 7 * 24 * 3600  # the limit of signature version 4
PAGE_SIZE = 1000  # the most that a listing or a deletion takes

# A copy is one request up to here, and beyond as many as there are parts: a server needs time for each.
COPY = TransferConfig(multipart_threshold=128 * MIB, multipart_chunksize=128 * MIB, use_threads=False)

Page = list[dict[str, Any]]

# Holds on every server that we know: v4 signatures, the bucket in the path, and no checksum trailers,
# which several servers refuse.
COMMON: dict[str, Any] = {
    "signature_version": "s3v4",
    "s3": {"addressing_style": "path"},
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
    "max_pool_connections": CONNECTIONS,
}
# A worker puts a piece off when these tries are used up, and a caller is told to come back: neither waits in them.
PATIENT = Config(**COMMON, connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})
BRISK = Config(**COMMON, connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
HASTY = Config(**COMMON, connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 1})


@dataclass(frozen=True, slots=True)
class Connection:
    """
    The clients of one S3 server, shared by all threads.

    Attributes:
        client: does the work, with retries
        probe: asks once and soon gives up
        signer: knows the server by the address that clients of ours use

    """

    client: Any
    probe: Any
    signer: Any


def connect(
    *,
    endpoint: str | None,
    public_endpoint: str | None,
    region: str | None,
    access_key: str | None,
    secret_key: str | None,
    brisk: bool = False,
) -> Connection:
    """Make the clients, which soon give up if *brisk*; sends nothing.

    Raises SettingsError for settings that cannot be right.
    """
    if bool(access_key) != bool(secret_key):
        raise SettingsError("VFQ_S3_ACCESS_KEY and VFQ_S3_SECRET_KEY go together: set both, or neither.")
    _check_endpoint(endpoint, "VFQ_S3_ENDPOINT")
    _check_endpoint(public_endpoint, "VFQ_S3_PUBLIC_ENDPOINT")
    session = boto3.session.Session(aws_access_key_id=access_key or None, aws_secret_access_key=secret_key or None)
    make = partial(_client, session, region or session.region_name or DEFAULT_REGION)
    client = make(endpoint, BRISK if brisk else PATIENT)
    return Connection(
        client=client,
        probe=make(endpoint, HASTY),
        signer=make(public_endpoint, PATIENT) if public_endpoint else client,
    )


class S3Store:
    """An ObjectStore in `bucket`, under `prefix` (empty, or ending with a slash)."""

    def __init__(self, connection: Connection, *, bucket: str, prefix: str) -> None:
        self._client = connection.client
        self._probe = connection.probe
        self._signer = connection.signer
        self._bucket = bucket
        self._prefix = prefix

    def put(self, key: str, data: bytes, *, content_type: str | None = None, durable: bool = True) -> ObjectInfo:
        """See ObjectStore."""
        del durable  # what a server has taken is durable
        part_size = max(PART_SIZE, len(data))
        with self.writer(key, content_type=content_type, part_size=part_size) as out:
            out.write(data)
            return out.commit()

    def writer(
        self, key: str, *, content_type: str | None = None, part_size: int = PART_SIZE, durable: bool = True
    ) -> S3Writer:
        """See ObjectStore."""
        del durable  # what a server has taken is durable
        return S3Writer(
            self._client,
            self._bucket,
            self._name(key),
            key=key,
            content_type=content_type,
            part_size=part_size,
        )

    def upload_file(self, key: str, path: str | PathLike[str], *, content_type: str | None = None) -> ObjectInfo:
        """See ObjectStore."""
        with Path(path).open("rb") as source, self.writer(key, content_type=content_type) as out:
            shutil.copyfileobj(source, out, CHUNK_SIZE)
            return out.commit()

    def copy(self, key: str, target: str) -> ObjectInfo:
        """See ObjectStore. The server copies; of what is larger than 128 MiB, a part at a time."""
        source = {"Bucket": self._bucket, "Key": self._name(key)}
        with translated(self._bucket, key):
            self._client.copy(source, self._bucket, self._name(target), Config=COPY)
        return self.head(target)

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """See ObjectStore."""
        with self.stream(key, start, stop, chunk=PART_SIZE) as pieces:
            return b"".join(pieces)

    def stream(self, key: str, start: int = 0, stop: int | None = None, *, chunk: int = CHUNK_SIZE) -> ByteStream:
        """See ObjectStore."""
        check_range(start, stop)
        return self._get(key, start, stop, chunk=chunk)

    def open(self, key: str) -> BinaryIO:
        """See ObjectStore."""
        info = self.head(key)
        same = {"IfMatch": f'"{info.etag}"'}  # all reads see one version of the object

        def fetch(start: int, stop: int) -> bytes:
            return b"".join(self._get(key, start, stop, chunk=PART_SIZE, **same))

        return io.BufferedReader(RangedFile(fetch, info.size))

    def head(self, key: str) -> ObjectInfo:
        """See ObjectStore."""
        name = self._name(key)
        with translated(self._bucket, key):
            return describe(key, self._client.head_object(Bucket=self._bucket, Key=name))

    def list(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> Iterator[ObjectInfo]:
        """See ObjectStore."""
        check_prefix(prefix)
        begin = {"StartAfter": self._name(after)} if after else {}
        left = limit
        for page in self._pages(prefix, size=min(PAGE_SIZE, limit or PAGE_SIZE), **begin):
            for item in page:
                key = item["Key"].removeprefix(self._prefix)
                if left is not None and left <= 0:
                    return
                if is_key(key):
                    modified = item["LastModified"].astimezone(UTC)
                    yield ObjectInfo(key, item["Size"], item["ETag"].strip('"'), modified)
                    left = None if left is None else left - 1

    def delete(self, key: str) -> None:
        """See ObjectStore."""
        name = self._name(key)
        with suppress(ObjectMissing), translated(self._bucket, key):
            self._client.delete_object(Bucket=self._bucket, Key=name)

    def delete_prefix(self, prefix: str) -> int:
        """See ObjectStore."""
        folder = check_key(prefix.removesuffix("/")) + "/"
        count = 0
        for page in self._pages(folder, size=PAGE_SIZE):
            names = [{"Key": item["Key"]} for item in page]
            with translated(self._bucket):
                answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": names, "Quiet": True})
            if failed := answer.get("Errors"):
                raise StorageError(f"The S3 server kept {len(failed)} of the objects under {prefix!r}.")
            count += len(names)
        return count

    def sweep(self, older_than: timedelta) -> int:
        """See ObjectStore."""
        limit = datetime.now(UTC) - older_than
        pages = self._client.get_paginator("list_multipart_uploads")
        count = 0
        with translated(self._bucket):
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for upload in page.get("Uploads", []):
                    if upload["Initiated"] < limit:
                        end_upload(self._client, Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                        count += 1
        return count

    def presign_get(
        self, key: str, *, expires: int, filename: str | None = None, content_type: str | None = None
    ) -> str:
        """See ObjectStore."""
        answer = {}
        if filename:
            answer["ResponseContentDisposition"] = attachment(filename)
        if content_type:
            answer["ResponseContentType"] = content_type
        return self._sign("get_object", key, expires, **answer)

    def presign_put(self, key: str, *, expires: int, content_type: str | None = None) -> str:
        """See ObjectStore. Who uses it must send this very Content-Type."""
        given = {"ContentType": content_type} if content_type else {}
        return self._sign("put_object", key, expires, **given)

    def check(self) -> None:
        """Ask the server for the bucket, once."""
        with translated(self._bucket):
            self._probe.head_bucket(Bucket=self._bucket)

    def _name(self, key: str) -> str:
        return check_key(self._prefix + check_key(key))

    def _get(self, key: str, start: int, stop: int | None, *, chunk: int, **given: str) -> ByteStream:
        guard = partial(translated, self._bucket, key)
        if stop == start:  # HTTP cannot ask for no bytes
            self.head(key)
            return ByteStream(Nothing(), 0, chunk=chunk, guard=guard)
        if start or stop is not None:
            given["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        name = self._name(key)
        with guard():
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=name, **given)
            except ClientError as error:
                if error_code(error) not in ("InvalidRange", "416"):
                    raise
                return ByteStream(Nothing(), 0, chunk=chunk, guard=guard)  # begins past the end
        return ByteStream(answer["Body"], _promised(answer, start, stop), chunk=chunk, guard=guard)

    def _pages(self, prefix: str, *, size: int, **given: str) -> Iterator[Page]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket,
            Prefix=self._prefix + prefix,
            PaginationConfig={"PageSize": size},
            **given,
        )
        with translated(self._bucket):
            yield from (page["Contents"] for page in pages if "Contents" in page)

    def _sign(self, operation: str, key: str, expires: int, **given: str) -> str:
        if not 1 <= expires <= LONGEST_SIGNATURE:
            raise ValueError(f"a signed URL holds for 1 to {LONGEST_SIGNATURE} seconds")
        where = {"Bucket": self._bucket, "Key": self._name(key)}
        with translated(self._bucket, key):
            return str(self._signer.generate_presigned_url(operation, Params=where | given, ExpiresIn=expires))


def attachment(filename: str) -> str:
    """Return a Content-Disposition that saves as `filename`, with an ASCII name for old clients (RFC 6266)."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def _promised(answer: dict[str, Any], start: int, stop: int | None) -> int:
    """Return how many bytes the answer must hold; raise StorageError if it is not for our range."""
    length = int(answer["ContentLength"])
    if start == 0 and (stop is None or ("ContentRange" not in answer and length <= stop)):
        return length
    span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.get("ContentRange", ""))
    if span:
        first, last, total = (int(number) for number in span.groups())
        end = total if stop is None else min(stop, total)
        if (first, last + 1) == (start, end) and length == end - start:
            return length
    answer["Body"].close()
    raise StorageError("The S3 server answered another range than the one that was asked for.")


def _client(session: boto3.session.Session, region: str, endpoint: str | None, config: Config) -> Any:
    client: Any = session.client("s3", region_name=region, endpoint_url=endpoint, config=config)
    if endpoint:
        client.meta.events.register_last("before-parameter-build.s3", _stay_here)
    return client


def _stay_here(context: dict[str, Any], **_: Any) -> None:
    # Only AWS has regions to go to. Elsewhere a redirection, as from http to https, sends botocore round
    # in circles until Python's stack ends; what it has followed once it does not follow again.
    context.setdefault("s3_redirect", {})["redirected"] = True


def _check_endpoint(url: str | None, setting: str) -> None:
    if url is None:
        return
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
        parts = None
    if not sound or parts is None or parts.username or parts.query or parts.fragment:
        raise SettingsError(f"{setting} must be http://host:port or https://host, without keys in it.")
