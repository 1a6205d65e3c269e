"""The two ways in which an upload arrives: at S3 itself, or at the API."""

import hashlib
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from api.services import Services
from api.uploads.errors import PartsMissing, UploadMismatch
from api.uploads.links import Links
from shared.errors import ObjectMissing, StorageError
from shared.keys import upload_key
from shared.records import Upload
from shared.storage import ObjectInfo, ObjectStore
from shared.storage.interface import CHUNK_SIZE, PartInfo, PartUploads

#: Called between pieces of what may take long.


@dataclass(frozen=True)
class Whole:
    """
    An upload that has arrived whole.

    Attributes:
        key: of its object
        etag: as its sender knows it
        seal: etag of the object in storage

    """

    key: str
    etag: str
    seal: str


class Way(Protocol):
    """How an upload arrives. Every method may raise QueueUnavailable and StorageError."""

    def url(self, upload: Upload, number: int) -> str:
        """Sign the URL that takes a part; that of an upload in one piece has the number 1."""
        ...

    def received(self, upload: Upload) -> dict[int, PartInfo]:
        """Tell which parts have arrived."""
        ...

    def finish(self, upload: Upload, asked: Mapping[int, str] | None) -> Whole:
        """Make the whole of the parts that were *asked* for, by their etags.

        Raises:
            PartsMissing: if not all are there.
            UploadMismatch: if it is not what was announced.
        """
        ...


class Direct:
    """Clients send to S3 itself, by URLs that S3 signs for exactly the announced size."""

    def __init__(self, to: Services) -> None:
        self._to = to

    def url(self, upload: Upload, number: int) -> str:
        """See Way."""
        key, seconds, size = upload_key(upload.id), _seconds(self._to, upload), upload.part_length(number)
        if upload.session:
            return self._parts().sign(key, upload.session, number, size=size, expires=seconds)
        url = self._to.store.presign_put(key, expires=seconds, content_type=upload.content_type, size=size)
        assert url is not None
        return url

    def received(self, upload: Upload) -> dict[int, PartInfo]:
        """See Way."""
        if upload.session:
            return self._parts().arrived(upload_key(upload.id), upload.session) or {}
        with suppress(ObjectMissing):
            info = self._to.store.head(upload_key(upload.id))
            return {1: PartInfo(info.size, info.etag)}
        return {}

    def finish(self, upload: Upload, asked: Mapping[int, str] | None) -> Whole:
        """See Way. The sha256 is worked out from what S3 holds."""
        key = upload_key(upload.id)
        if upload.session:
            self._join(upload, upload.session, asked)
        try:
            info = self._to.store.head(key)
        except ObjectMissing:
            raise missing_parts([1]) from None
        if not upload.session and asked is not None:
            check_parts(upload, {1: PartInfo(info.size, info.etag)}, asked)
        if info.size != upload.size:  # a server that does not mind the signed length
            self._to.store.delete(key)
            raise mismatch(f"{info.size} bytes have arrived, {upload.size} were announced; send it again")
        if upload.sha256 and _sha256(self._to.store, info) != upload.sha256:
            self._to.store.delete(key)
            if not upload.session:
                raise other_bytes()
            self._to.uploads.remove(upload)  # S3 has joined its parts, and takes no more
            raise mismatch("what has arrived has another sha256 than was announced; begin another upload")
        return Whole(key, info.etag, info.etag)

    def _join(self, upload: Upload, session: str, asked: Mapping[int, str] | None) -> None:
        key = upload_key(upload.id)
        found = self._parts().arrived(key, session)
        if found is None:  # joined before, by a request that could not tell
            return
        check_parts(upload, found, asked)
        self._parts().finish(key, session, {number: part.etag for number, part in found.items()})

    def _parts(self) -> PartUploads:
        parts = self._to.store.part_uploads()
        if parts is None:
            raise StorageError("This upload was begun on another storage than VFQ_STORAGE_URL names now.")
        return parts


class ThroughUs:
    """Clients send to the API, by URLs that it signs itself; each part is an object until all are joined."""

    def __init__(self, to: Services) -> None:
        self._to = to

    def url(self, upload: Upload, number: int) -> str:
        """See Way."""
        return Links(self._to).sign(upload.id, number, whole=not upload.part_size, seconds=_seconds(self._to, upload))

    def received(self, upload: Upload) -> dict[int, PartInfo]:
        """See Way."""
        found = self._to.uploads.arrived(upload.id)
        return {number: PartInfo(part.size, part.etag) for number, part in found.items()}

    def finish(self, upload: Upload, asked: Mapping[int, str] | None) -> Whole:
        """See Way. Of one piece, the sha256 was worked out as it came."""
        found = self._to.uploads.arrived(upload.id)
        check_parts(upload, {number: PartInfo(part.size, part.etag) for number, part in found.items()}, asked)
        keys = [found[number].key for number in sorted(found)]
        try:
            if not upload.part_size:
                info = self._to.store.head(keys[0])
                return Whole(info.key, found[1].etag, info.etag)
            info = self._joined(upload, keys)
        except ObjectMissing:  # replaced in this moment
            raise missing_parts([]) from None
        for key in keys:
            with suppress(StorageError):  # it is swept with the upload
                self._to.store.delete(key)
        sums = b"".join(bytes.fromhex(found[number].etag) for number in sorted(found))
        etag = f"{hashlib.md5(sums, usedforsecurity=False).hexdigest()}-{len(keys)}"
        return Whole(info.key, etag, info.etag)

    def _joined(self, upload: Upload, keys: list[str]) -> ObjectInfo:
        digest = hashlib.sha256()
        key = upload_key(upload.id)
        with self._to.store.writer(key, content_type=upload.content_type) as out:
            for part in keys:
                with self._to.store.stream(part, chunk=CHUNK_SIZE) as pieces:
                    for piece in pieces:
                        out.write(piece)
                        if upload.sha256:
                            digest.update(piece)
            if upload.sha256 and digest.hexdigest() != upload.sha256:
                raise other_bytes()
            return out.commit()


def way_of(to: Services, upload: Upload) -> Way:
    """Give the way that was chosen when the upload began."""
    return Direct(to) if upload.direct else ThroughUs(to)


def check_parts(upload: Upload, found: Mapping[int, PartInfo], asked: Mapping[int, str] | None) -> None:
    """See that all parts are there, of the right sizes, and the ones that were asked for.

    Raises:
        PartsMissing, UploadMismatch: if not.
    """
    wanted = range(1, upload.parts + 1)
    if missing := [number for number in wanted if number not in found]:
        raise missing_parts(missing)
    for number in wanted:
        if found[number].size != upload.part_length(number):
            expected = upload.part_length(number)
            raise mismatch(f"part {number} has {found[number].size} bytes and must have {expected}; send it again")
    if asked is None:
        return
    if set(asked) != set(wanted):
        raise mismatch(f"the parts must be those from 1 to {upload.parts}, each once")
    for number, etag in asked.items():
        if found[number].etag != etag.strip().strip('"'):
            raise mismatch(f"part {number} has arrived with another etag; send it again, or name that one")


def missing_parts(numbers: list[int]) -> PartsMissing:
    """Say which parts have not arrived."""
    named = ", ".join(map(str, numbers[:20])) + (", …" if len(numbers) > 20 else "")
    what = f"Parts that have not arrived: {named}." if numbers else "A part was replaced in this moment."
    return PartsMissing(f"{what} Send what is missing, and complete the upload again.")


def mismatch(why: str) -> UploadMismatch:
    """Say that what has arrived is not what was announced."""
    return UploadMismatch(why[0].upper() + why[1:] + ".")


def other_bytes() -> UploadMismatch:
    """Say that the sha256 is another."""
    return mismatch("what has arrived has another sha256 than was announced; send it again")


def _sha256(store: ObjectStore, info: ObjectInfo) -> str:
    digest = hashlib.sha256()
    with store.stream(info.key, chunk=CHUNK_SIZE) as pieces:
        for piece in pieces:
            digest.update(piece)
    return digest.hexdigest()


def _seconds(to: Services, upload: Upload) -> int:
    return max(1, min(to.settings.upload_url_seconds, int(upload.expires - time.time())))
