"""Reckon how large FFmpeg's index of an MP4 will be, before it makes it.

A track may say in 20 bytes that it has a hundred million samples of one size, and in 12 more that all are played
again. FFmpeg has an entry of 24 bytes for each; `bounds.ALLOCATION` bounds what one track can ask for, and a file has
many. Boxes: ISO 14496-12 and Apple's QuickTime File Format.
"""

import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from worker.audio.errors import AudioUnreadable
from worker.audio.sniff import Readable

MOST_ENTRIES = 6_000_000
"""In all tracks, beyond one for every four bytes: the size of a sample takes as many where each has one of its own.
FFmpeg needs 36 bytes for each, twice where it reads a damaged index again."""
MOST_BYTES = 128 * 1024**2
"""Of boxes that are no media; twelve hours of film have 40 MB."""
MOST_TABLES = 10_000
"""Tables, and boxes that are walked, in one index: what has more is no recording and would cost minutes."""
MOST_BOXES = 2**20
"""Boxes beside each other: 145 hours of fragments of a second."""
MEDIA = (b"mdat", b"uuid", b"wide")
PADDING = (b"free", b"skip", b"hoov")
"""FFmpeg looks for an index in these too, where one begins at once."""
FOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"hoov", b"free", b"skip")
TABLES = (b"trak", b"stsz", b"stts", b"stsc", b"stco", b"co64", b"elst")
RUN = 1024
"""Samples of PCM that FFmpeg puts into one entry."""
_NAMES = re.compile(b"|".join((*TABLES, b"trun")))
_PACKED = re.compile(b"dcomzlib....cmvd", re.DOTALL)
_TOO_LARGE = "Its index asks for more samples than a recording can have; the file is damaged."


@dataclass
class _Track:
    """Tables of one track: pairs of numbers as they stand after version and flags."""

    tables: list[tuple[bytes, int, int]] = field(default_factory=list)
    """(name, first number, second number)."""
    longest_chunk: int = 0
    steps: list[tuple[int, int]] = field(default_factory=list)
    """(entries, duration of the first) of each table of times."""

    def entries(self, size: int) -> int:
        """Entries that FFmpeg will make, at most, out of *size* bytes of tables."""
        edits = sum(first for name, first, _ in self.tables if name == b"elst")
        chunks = sum(min(first, size) for name, first, _ in self.tables if name in (b"stco", b"co64"))
        samples = 0
        for length, count in ((first, second) for name, first, second in self.tables if name == b"stsz"):
            if not length:  # each has a number of its own
                samples += min(count, size // 4)
            elif self.steps and all(step == (1, 1) for step in self.steps):  # PCM, which goes by chunks
                samples += chunks * (self.longest_chunk // RUN + 1)
            else:
                samples += count
        return samples * max(min(edits, size // 12), 1)

    def take(self, name: bytes, content: bytes) -> None:
        """Note a table by its content behind the name."""
        first, second, third = struct.unpack(">III", content[4:16].ljust(12, b"\0"))
        if name == b"stts":
            self.steps.append((first, third))
        elif name == b"stsc":
            rows = content[8 : 8 + 12 * min(first, len(content) // 12)]
            self.longest_chunk = max([self.longest_chunk, *(row[1] for row in _rows(rows))])
        else:
            self.tables.append((name, first, second))


def check_index(file: Readable) -> None:
    """Refuse an MP4 whose index would be larger than any recording's. Raises `AudioUnreadable`."""
    entries = size = 0
    for content in _indexes(file):
        size += len(content)
        entries += index_entries(content)
        if size > MOST_BYTES or entries > MOST_ENTRIES + size // 4:
            raise AudioUnreadable(_TOO_LARGE)


def index_entries(content: bytes) -> int:
    """Reckon the entries of a box that holds an index. Raises `AudioUnreadable` where that cannot be."""
    if _PACKED.search(content):
        raise AudioUnreadable("Its index is packed, as QuickTime once did; convert it to WAV or M4A.")
    tables = list(islice(_NAMES.finditer(content), MOST_TABLES + 1))
    if len(tables) > MOST_TABLES:
        raise AudioUnreadable(_TOO_LARGE)
    names = Counter(table.group() for table in tables)
    tracks: list[_Track] = []
    walked: Counter[bytes] = Counter()
    _walk(content, 0, len(content), tracks, walked)
    if any(walked[name] != names[name] for name in TABLES):
        # FFmpeg takes tables where they do not belong: count all that look like some, as if of one track.
        tracks = [_Track()]
        for table in tables:
            tracks[0].take(table.group(), content[table.end() : table.end() + 16])
        tracks[0].steps.clear()
    total = sum(track.entries(len(content)) for track in tracks)
    runs = (content[table.end() : table.end() + 8] for table in tables if table.group() == b"trun")
    return total + sum(map(_run, runs))


def _indexes(file: Readable) -> Iterator[bytes]:
    """Boxes at the top that are no media, with their heads."""
    end, at = file.seek(0, 2), 0
    for _ in range(MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        inner = 16 if size == 1 else 8
        size = int.from_bytes(head[8:16], "big") if size == 1 else size or end - at
        if size < inner:
            return
        if name not in MEDIA and (name not in PADDING or b"moov" in (head[8:12], head[12:16])):
            file.seek(at)
            yield file.read(min(size, end - at, MOST_BYTES + 1))
        at += size
        if at >= end:
            return
    raise AudioUnreadable(_TOO_LARGE)


def _walk(content: bytes, start: int, stop: int, tracks: list[_Track], walked: Counter[bytes], depth: int = 0) -> None:
    """Go through boxes as they should be nested."""
    at = start
    while at + 8 <= stop and depth < len(FOLDERS) and walked.total() < MOST_TABLES:
        size, name = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if size < 8 or at + size > stop:
            return
        walked[name] += 1
        if name == b"trak":
            tracks.append(_Track())
        if name in FOLDERS:
            _walk(content, at + 8, at + size, tracks, walked, depth + 1)
        elif name in TABLES and tracks:
            tracks[-1].take(name, content[at + 8 : at + size])
        at += size


def _rows(data: bytes) -> Iterator[tuple[int, int, int]]:
    return struct.iter_unpack(">III", data[: len(data) // 12 * 12])


def _run(content: bytes) -> int:
    """Samples of a fragment's run that has no numbers of their own for them."""
    if len(content) < 8 or int.from_bytes(content[:4], "big") & 0xF00:
        return 0
    return int.from_bytes(content[4:8], "big")
