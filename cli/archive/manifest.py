"""What became of every file, in `.voicefixer-archive.jsonl`: appended to, on the disk before anyone hears of it.

A line is written whole or, if we are killed, torn; what does not parse is as if it had not been written. Which line
tells of which file is kept in a passing database on the disk, so that a million files need no memory.
"""

import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Self

from cli.archive.errors import ArchiveError

NAME = ".voicefixer-archive.jsonl"
#: Data of a stack that the command starts itself.
STACK_FOLDER = ".voicefixer-archive.d"
_VERSION = 1
_BATCH = 10_000


@dataclass(frozen=True)
class Stamp:
    """A file as it was: `size` in bytes, `mtime_ns`, and the sha256 of its bytes if it is known."""

    size: int
    mtime_ns: int
    sha256: str | None = None

    def looks_like(self, size: int, mtime_ns: int) -> bool:
        """Whether a file has this size and time: a hint that it is unchanged, no proof."""
        return (self.size, self.mtime_ns) == (size, mtime_ns)


@dataclass(frozen=True)
class Entry:
    """What became of a file: `output` is relative to the archive's target, `options` a digest (`order.Order`)."""

    path: str
    status: Literal["restored", "failed"]
    options: str
    source: Stamp
    attempt: int = 1
    output: str | None = None
    result: Stamp | None = None
    error: dict[str, str] | None = None
    job_id: str | None = None
    models: list[dict[str, Any]] = field(default_factory=list)
    needs_review: bool | None = None

    @classmethod
    def read(cls, document: dict[str, Any]) -> Self:
        """Read what `line` wrote; raises KeyError and TypeError for anything else."""
        facts = {name: document[name] for name in cls.__dataclass_fields__}
        facts["source"] = Stamp(**facts["source"])
        facts["result"] = Stamp(**facts["result"]) if facts["result"] else None
        return cls(**facts)

    def line(self) -> dict[str, Any]:
        """Give it as a line of the manifest."""
        return {"event": "file", **asdict(self)}


class Manifest:
    """
    The manifest of an archive, from `open_manifest`. Safe to use from several threads.

    Attributes:
        id: of the archive; random, a part of the names of its jobs
        resumed: whether it was there before this run
        damaged: lines that could not be read

    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.id = ""
        self.source = ""
        self.damaged = 0
        self._read_only = read_only
        self._lock = threading.Lock()
        self._index = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._index.execute("CREATE TABLE files (key BLOB PRIMARY KEY, at INTEGER) WITHOUT ROWID")
        self._index.execute("CREATE TABLE outputs (key BLOB PRIMARY KEY, file BLOB) WITHOUT ROWID")
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path.exists() else -1
        if self._file >= 0:
            self._read()
        self.resumed = bool(self.id)

    def begin(self, source: Path, *, fresh: bool) -> None:
        """Make ready for new lines; *fresh* begins a new archive, to which the lines before tell of outputs alone.

        Raises:
            ArchiveError: if nothing can be written there.
        """
        assert not self._read_only
        try:
            self._reopen()
            if fresh or not self.id:
                with self._lock:
                    self._index.execute("DELETE FROM files")
                self.id, self.resumed = secrets.token_hex(16), False
                facts = {"version": _VERSION, "id": self.id, "source": str(source.absolute()), "stack": STACK_FOLDER}
                self._write({"event": "archive", "at": round(time.time(), 3), **facts})
        except OSError as error:
            raise ArchiveError(f"{self.path} cannot be written: {error.strerror}.") from None

    def last(self, path: str) -> Entry | None:
        """Read what became of a file the last time."""
        with self._lock:
            row = self._index.execute("SELECT at FROM files WHERE key = ?", (_key(path),)).fetchone()
        if row is None:
            return None
        entry = _entry(_line_at(self._file, row[0]))
        return entry if entry is not None and entry.path == path else None

    def owns(self, output: str, path: str) -> bool:
        """Whether what lies at *output* was put there for the file *path*, and for none after it."""
        with self._lock:
            row = self._index.execute("SELECT file FROM outputs WHERE key = ?", (_key(output),)).fetchone()
        return row is not None and row[0] == _key(path)

    def append(self, entry: Entry) -> None:
        """Write down what became of a file; it is on the disk then.

        Raises:
            ArchiveError: if it cannot be written.
        """
        try:
            self._write(entry.line())
        except OSError as error:
            raise ArchiveError(f"{self.path} cannot be written: {error.strerror}.") from None

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
            self._index.close()

    def _reopen(self) -> None:
        there = self._file >= 0
        if there:
            os.close(self._file)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self.path, flags, 0o666)
        if there and (size := os.fstat(self._file).st_size) and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")  # the line before was torn
        sync_folder(self.path.parent)

    def _write(self, document: dict[str, Any]) -> None:
        data = json.dumps(document, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)

    def _read(self) -> None:
        batch: list[tuple[bytes, int, str | None]] = []
        for at, line in _lines(self._file):
            document = _parsed(line)
            if document is None:
                self.damaged += 1
            elif document.get("event") == "archive":
                self._header(document)
                self._store(batch)
                self._index.execute("DELETE FROM files")
            elif (entry := _entry(line)) is not None:
                batch.append((_key(entry.path), at, entry.output))
                if len(batch) >= _BATCH:
                    self._store(batch)
        self._store(batch)

    def _header(self, document: dict[str, Any]) -> None:
        if document.get("version") != _VERSION:
            raise ArchiveError(f"{self.path} was written by another version of this program. Choose another folder.")
        self.id, self.source = str(document["id"]), str(document.get("source", ""))

    def _store(self, batch: list[tuple[bytes, int, str | None]]) -> None:
        self._index.execute("BEGIN")
        self._index.executemany("REPLACE INTO files VALUES (?, ?)", [(key, at) for key, at, _ in batch])
        owned = [(_key(output), key) for key, _, output in batch if output is not None]
        self._index.executemany("REPLACE INTO outputs VALUES (?, ?)", owned)
        self._index.execute("COMMIT")
        batch.clear()


def sync_folder(folder: Path) -> None:
    """See that the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lines(descriptor: int) -> Iterator[tuple[int, bytes]]:
    """Give every whole line and where it begins."""
    at = 0
    with os.fdopen(os.dup(descriptor), "rb", buffering=1 << 20) as file:
        file.seek(0)
        for line in file:
            if line.strip():
                yield at, line
            at += len(line)


def _line_at(descriptor: int, at: int) -> bytes:
    data = b""
    while b"\n" not in data:
        piece = os.pread(descriptor, 4096, at + len(data))
        if not piece:
            break
        data += piece
    return data.partition(b"\n")[0]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _entry(line: bytes) -> Entry | None:
    document = _parsed(line)
    if document is None or document.get("event") != "file":
        return None
    try:
        return Entry.read(document)
    except (KeyError, TypeError):
        return None


def _key(path: str) -> bytes:
    return blake2b(os.fsencode(path), digest_size=16).digest()
