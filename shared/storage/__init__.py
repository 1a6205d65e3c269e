"""Objects in a folder or an S3 bucket, behind one protocol."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from shared.errors import InvalidKey, SettingsError
from shared.storage.folder import FolderStore
from shared.storage.interface import ObjectInfo, ObjectStore, ObjectWriter
from shared.storage.keys import check_key
from shared.storage.streams import ByteStream

__all__ = ["ByteStream", "ObjectInfo", "ObjectStore", "ObjectWriter", "open_storage"]

EXPECTED = "VFQ_STORAGE_URL must be file:///folder or s3://bucket/prefix"
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


def open_storage(
    url: str,
    *,
    endpoint: str | None = None,
    public_endpoint: str | None = None,
    region: str | None = None,
    access_key: str | None = None,
    secret_key: str | None = None,
    brisk: bool = False,
) -> ObjectStore:
    """
    Open the store that `url` names: `file:///folder` or `s3://bucket/prefix`.

    The rest is for S3: the URL of the server (AWS by default), the URL of the same server as clients
    reach it (for signing), the region, the keys (by default what boto3 finds in its environment), and whether to
    give up soon on a server that does not answer (*brisk*), because someone waits.
    Nothing is sent yet; `check()` of the store tells whether it can be reached. Threads may share a store,
    processes not: open it after a fork.

    Raises:
        SettingsError: names the setting that is wrong.

    """
    parts = _split(url)
    if parts.scheme == "file":
        return FolderStore(_folder(parts))
    from shared.storage.s3 import S3Store, connect  # boto3 takes a while to import

    settings = connect(
        endpoint=endpoint,
        public_endpoint=public_endpoint,
        region=region,
        access_key=access_key,
        secret_key=secret_key,
        brisk=brisk,
    )
    return S3Store(settings, bucket=_bucket(parts), prefix=_prefix(parts))


def _split(url: str) -> SplitResult:
    # The URL itself is never shown: a wrong one may hold a password.
    try:
        parts = urlsplit(url)
    except ValueError:
        raise SettingsError(f"{EXPECTED}.") from None
    if parts.scheme not in ("file", "s3"):
        raise SettingsError(f"{EXPECTED}; it begins with neither.")
    if parts.query or parts.fragment:
        raise SettingsError(f"{EXPECTED}; write ? as %3F and # as %23 in it.")
    return parts


def _folder(parts: SplitResult) -> Path:
    folder = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not folder.is_absolute():
        raise SettingsError(f"{EXPECTED}; a folder is absolute and has three slashes before it.")
    if "\0" in str(folder):
        raise SettingsError(f"{EXPECTED}; the folder holds a character that no path can have.")
    return folder


def _bucket(parts: SplitResult) -> str:
    if not BUCKET.fullmatch(parts.netloc):
        raise SettingsError(
            f"{EXPECTED}; the bucket must be a name alone. Keys belong into VFQ_S3_ACCESS_KEY and "
            "VFQ_S3_SECRET_KEY, a server into VFQ_S3_ENDPOINT."
        )
    return parts.netloc


def _prefix(parts: SplitResult) -> str:
    prefix = unquote(parts.path).strip("/")
    try:
        return check_key(prefix) + "/" if prefix else ""
    except InvalidKey:
        raise SettingsError(f"{EXPECTED}; its prefix is not a plain path.") from None
