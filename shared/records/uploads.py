"""Uploads that clients have begun, in Redis: what was announced, what has arrived, for how long it is kept.

Keys (p is the prefix), all gone a day after the upload has expired at the latest:
  p upload:{id}        HASH  what `Upload` has, each field as text; an empty one is not there
  p upload:{id}:parts  HASH  number -> key, size and etag of a part that the API took in
  p uploads            ZSET  ids by the time at which they expire, until they are swept
  p uploads:$owner     ZSET  the same for each owner

A Redis that is lost takes its uploads along: they are begun again. Jobs made of them have copies of their own.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, cast

import redis

from shared.errors import QueueUnavailable

_LIMIT = 100
#: A record outlives its upload by so much, so that a sweep knows what there is to end.
_GRACE_SECONDS = 86_400

_ID = re.compile(r"[0-9a-f]{32}")
_T = TypeVar("_T")

# p, id, owner, expires, until, most, name, value, …
_CREATE = """
local p, id, owner, mine = ARGV[1], ARGV[2], ARGV[3], ARGV[1] .. 'uploads:' .. ARGV[3]
redis.call('ZREMRANGEBYSCORE', mine, '-inf', redis.call('TIME')[1])
if redis.call('ZCARD', mine) >= tonumber(ARGV[6]) then return 0 end
local record = p .. 'upload:{' .. id .. '}'
redis.call('HSET', record, unpack(ARGV, 7))
redis.call('EXPIREAT', record, ARGV[5])
redis.call('ZADD', p .. 'uploads', ARGV[4], id)
redis.call('ZADD', mine, ARGV[4], id)
-- All live equally long, unless the setting was changed in between: the youngest never ends long before another.
redis.call('EXPIREAT', mine, ARGV[5])
return 1
"""
# p, id, until, number, part -> what it replaces, '' for nothing; false if the upload takes no parts
_ARRIVE = """
local record = ARGV[1] .. 'upload:{' .. ARGV[2] .. '}'
if redis.call('HGET', record, 'status') ~= 'pending' then return false end
local before = redis.call('HGET', record .. ':parts', ARGV[4]) or ''
redis.call('HSET', record .. ':parts', ARGV[4], ARGV[5])
redis.call('EXPIREAT', record .. ':parts', ARGV[3])
return before
"""
# p, id, name, value, …
_COMPLETE = """
local record = ARGV[1] .. 'upload:{' .. ARGV[2] .. '}'
if redis.call('EXISTS', record) == 0 then return 0 end
redis.call('HSET', record, 'status', 'completed', unpack(ARGV, 3))
redis.call('DEL', record .. ':parts')
return 1
"""


@dataclass(frozen=True)
class ArrivedPart:
    """
    A part that the API took in.

    Attributes:
        key: where it lies in storage
        size: in bytes
        etag: its MD5 in hexadecimal

    """

    key: str
    size: int
    etag: str


@dataclass(frozen=True)
class Upload:
    """
    A recording that a client sends, or has sent, without a job.

    Attributes:
        id: 32 hexadecimal digits
        owner: to whom it belongs
        filename: as its sender calls it
        size: bytes that were announced
        created: seconds since 1970, by Redis's clock
        expires: the same
        status: whether it can be named as a job's input
        content_type: as announced
        sha256: the same, hexadecimal
        part_size: bytes of each part but the last; 0 if it comes in one piece
        session: of S3, for parts that go there; None for what the API takes in
        direct: whether it goes to S3 itself
        key: of the whole object, once completed
        etag: as its sender saw it, once completed
        seal: the object's etag in storage, once completed: another one means that it was replaced

    """

    id: str
    owner: str
    filename: str
    size: int
    created: float
    expires: float
    status: Literal["pending", "completed"] = "pending"
    content_type: str | None = None
    sha256: str | None = None
    part_size: int = 0
    session: str | None = None
    direct: bool = False
    key: str | None = None
    etag: str | None = None
    seal: str | None = None

    @property
    def parts(self) -> int:
        """How many parts it has."""
        return -(-self.size // self.part_size) if self.part_size else 1

    def part_length(self, number: int) -> int:
        """Bytes of a part, from 1."""
        return min(self.part_size, self.size - (number - 1) * self.part_size) if self.part_size else self.size


class Uploads:
    """The records of uploads. Safe to use from several threads.

    Raises:
        QueueUnavailable: from any method, if Redis cannot be reached or refuses to write.
    """

    def __init__(self, client: redis.Redis, *, prefix: str = "vfq:") -> None:
        """Keep them under *prefix*."""
        self._redis = client
        self._prefix = prefix

    def create(self, upload: Upload, *, most: int) -> bool:
        """Begin an upload; False if its owner has *most* already."""
        fields = [word for pair in _fields(upload).items() for word in pair]
        until = int(upload.expires) + _GRACE_SECONDS
        head = [self._prefix, upload.id, upload.owner, f"{upload.expires:.6f}", until, most]
        return bool(self._call(lambda: self._redis.eval(_CREATE, 0, *head, *fields)))  # type: ignore[arg-type]

    def get(self, upload_id: str) -> Upload | None:
        """Give an upload that has not expired."""
        upload = self._read(upload_id) if _ID.fullmatch(upload_id) else None
        return upload if upload and upload.expires > self._now() else None

    def arrive(self, upload: Upload, number: int, part: ArrivedPart) -> tuple[bool, ArrivedPart | None]:
        """Note a part that arrived; tells whether the upload takes it, and which one it replaces."""
        until = int(upload.expires) + _GRACE_SECONDS
        text = f"{part.size} {part.etag} {part.key}"
        args = (self._prefix, upload.id, until, number, text)
        before = self._call(lambda: self._redis.eval(_ARRIVE, 0, *args))
        if before is None:
            return False, None
        return True, _part(str(before)) if before else None

    def arrived(self, upload_id: str) -> dict[int, ArrivedPart]:
        """Give the parts that the API took in, by number."""
        found = self._call(lambda: cast(dict[str, str], self._redis.hgetall(self._key(upload_id) + ":parts")))
        return {int(number): _part(text) for number, text in sorted(found.items(), key=lambda item: int(item[0]))}

    def complete(self, upload: Upload, *, key: str, etag: str, seal: str) -> Upload | None:
        """Note that an upload is whole; None if it was deleted meanwhile."""
        args = (self._prefix, upload.id, "key", key, "etag", etag, "seal", seal)
        if not self._call(lambda: self._redis.eval(_COMPLETE, 0, *args)):
            return None
        return replace(upload, status="completed", key=key, etag=etag, seal=seal)

    def remove(self, upload: Upload) -> None:
        """Forget an upload."""
        key = self._key(upload.id)

        def act() -> None:
            with self._redis.pipeline() as pipe:
                pipe.delete(key, key + ":parts")
                pipe.zrem(f"{self._prefix}uploads", upload.id)
                pipe.zrem(f"{self._prefix}uploads:{upload.owner}", upload.id)
                pipe.execute()

        self._call(act)

    def expired(self, moment: float) -> list[tuple[str, Upload | None]]:
        """Give the uploads that expired before a moment, with what is known of each."""
        index = f"{self._prefix}uploads"
        ids = self._call(
            lambda: cast(list[str], self._redis.zrangebyscore(index, "-inf", f"{moment:.6f}", start=0, num=_LIMIT))
        )
        return [(upload_id, self._read(upload_id)) for upload_id in ids]

    def swept(self, upload_id: str, upload: Upload | None) -> None:
        """Note that nothing is left of an upload that has expired."""
        if upload is not None:
            self.remove(upload)
        self._call(lambda: self._redis.zrem(f"{self._prefix}uploads", upload_id))

    def known(self, upload_ids: Iterable[str]) -> set[str]:
        """Tell which of these there is a record of."""
        ids = list(upload_ids)

        def ask() -> list[int]:
            with self._redis.pipeline(transaction=False) as pipe:
                for upload_id in ids:
                    pipe.exists(self._key(upload_id))
                return cast(list[int], pipe.execute())

        return {upload_id for upload_id, there in zip(ids, self._call(ask), strict=True) if there}

    def _read(self, upload_id: str) -> Upload | None:
        found = self._call(lambda: cast(dict[str, str], self._redis.hgetall(self._key(upload_id))))
        return _upload(upload_id, found) if found.get("owner") else None

    def _now(self) -> float:
        seconds, microseconds = self._call(self._redis.time)
        return seconds + microseconds / 1e6

    def _key(self, upload_id: str) -> str:
        return f"{self._prefix}upload:{{{upload_id}}}"

    def _call(self, action: Callable[[], _T]) -> _T:
        try:
            return action()
        except redis.RedisError as error:
            raise QueueUnavailable(
                f"Redis cannot be used right now; look at VFQ_REDIS_URL ({type(error).__name__})"
            ) from error


def _fields(upload: Upload) -> dict[str, str]:
    fields: dict[str, Any] = {
        "owner": upload.owner,
        "filename": upload.filename,
        "size": upload.size,
        "created": f"{upload.created:.6f}",
        "expires": f"{upload.expires:.6f}",
        "status": upload.status,
        "content_type": upload.content_type,
        "sha256": upload.sha256,
        "part_size": upload.part_size,
        "session": upload.session,
        "direct": 1 if upload.direct else None,
    }
    return {name: str(value) for name, value in fields.items() if value is not None}


def _upload(upload_id: str, found: dict[str, str]) -> Upload:
    return Upload(
        id=upload_id,
        owner=found["owner"],
        filename=found["filename"],
        size=int(found["size"]),
        created=float(found["created"]),
        expires=float(found["expires"]),
        status=cast(Literal["pending", "completed"], found["status"]),
        content_type=found.get("content_type"),
        sha256=found.get("sha256"),
        part_size=int(found["part_size"]),
        session=found.get("session"),
        direct="direct" in found,
        key=found.get("key"),
        etag=found.get("etag"),
        seal=found.get("seal"),
    )


def _part(text: str) -> ArrivedPart:
    size, etag, key = text.split(" ", 2)
    return ArrivedPart(key, int(size), etag)
