"""Look for ID3 tags that unpack to far more than they take up, before FFmpeg unpacks and keeps them.

A frame of an ID3v2 tag may be packed by zlib (ID3v2.4.0, section 4.1.2), a thousand to one, and a tag may have any
number of them. Tags at the beginning of a file are skipped; these stand in chunks, at the end, or between frames.
"""

import re
import zlib
from collections.abc import Iterator

from worker.audio.errors import AudioUnreadable
from worker.audio.sniff import Readable

READ_BY = ("aac", "aiff", "asf", "dsf", "svx", "w64", "wav")
"""Containers in which FFmpeg looks for tags that are not at the beginning."""
MOST_UNPACKED = 32 * 1024**2
"""Bytes in all tags together; hardly anything packs them at all."""
_BLOCK = 4 * 1024**2
_PACKED = 64 * 1024
"""Bytes behind the beginning of a packed frame that are tried: what needs more to become large is no bomb."""
_TAG = re.compile(rb"ID3[\x02-\x04][^\xff].([\x00-\x7f]{4})", re.DOTALL)
_ZLIB = re.compile(rb"(?=([\x08\x18\x28\x38\x48\x58\x68\x78].))", re.DOTALL)
_HEAD = 10


def check_tags(file: Readable) -> None:
    """Raise `AudioUnreadable` where tags unpack to more than `MOST_UNPACKED`."""
    unpacked = reach = 0
    for start, block in _blocks(file):
        for tag in _TAG.finditer(block):
            length = sum(byte << shift for byte, shift in zip(tag[1], (21, 14, 7, 0), strict=True))
            reach = max(reach, start + tag.start() + _HEAD + length)
        if reach <= start:
            continue
        for found in _ZLIB.finditer(block, 0, min(_BLOCK, reach - start)):
            if int.from_bytes(found[1], "big") % 31 == 0:
                unpacked += _size(block[found.start() : found.start() + _PACKED])
            if unpacked > MOST_UNPACKED:
                raise AudioUnreadable("Its tags unpack to far more than it holds; remove them, or convert it to WAV.")


def _blocks(file: Readable) -> Iterator[tuple[int, bytes]]:
    """The whole file, each block with a little of the next."""
    at = 0
    while True:
        file.seek(at)
        block = file.read(_BLOCK + _PACKED)
        if not block:
            return
        yield at, block
        at += _BLOCK


def _size(data: bytes) -> int:
    """Bytes that this unpacks to, if it is packed at all."""
    try:
        return len(zlib.decompressobj().decompress(data, MOST_UNPACKED + 1))
    except zlib.error:
        return 0
