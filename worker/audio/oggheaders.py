"""Look at an Ogg file's headers before libsndfile does: its Vorbis library trusts them with the process's life.

A Vorbis setup header may name 256 code books of four million entries each in twelve bytes a book. libvorbis 1.3.7
unpacks them on the stack, which ends the process, or into gigabytes. FFmpeg's own Vorbis decoder refuses such books.
Pages: RFC 3533; code books: Vorbis I, section 3.2.1.
"""

import struct
import zlib
from collections.abc import Iterator

from worker.audio.sniff import Readable

SIMPLE = (b"OpusHead", b"Speex   ", b"\x7fFLAC")
VORBIS = b"\x01vorbis", b"\x03vorbis", b"\x05vorbis"
HEADERS = 16 * 1024**2
"""Bytes of headers that are looked at: a cover picture may be among them."""
MOST_ENTRIES, MOST_VALUES = 2**16, 2**18
"""Of one code book; the largest of libvorbis's encoder have 6561 and 52 488."""
MOST_ALL_ENTRIES, MOST_ALL_VALUES = 2**18, 2**22
"""Of all code books together."""
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class _NotPlainError(Exception):
    """The file does not begin as encoders write it, or asks for too much."""


def is_plain(file: Readable) -> bool:
    """Whether the file begins with whole pages of one stream, and its headers ask for no more than encoders do.

    It is false wherever libogg might see other packets than we do, as after a page with a wrong checksum.
    """
    packets = _packets(file)
    try:
        first = next(packets)
        if first.startswith(SIMPLE):
            return True
        kinds = zip(VORBIS, [first, next(packets), setup := next(packets)], strict=True)
        if not all(packet.startswith(kind) for kind, packet in kinds):
            return False
        _check_books(setup)
    except (_NotPlainError, StopIteration):
        return False
    return True


def _packets(file: Readable) -> Iterator[bytes]:
    """The packets of pages numbered from 0, of one stream, with right checksums."""
    packet, left, serial, number = bytearray(), HEADERS, b"", 0
    file.seek(0)
    while left > 0:
        head = file.read(27)
        if len(head) < 27 or head[:5] != b"OggS\x00":
            raise _NotPlainError
        table = file.read(head[26])
        body = file.read(sum(table))
        serial = serial or head[14:18]
        continued = bool(head[5] & 1)
        if head[14:18] != serial or struct.unpack_from("<I", head, 18)[0] != number or continued != bool(packet):
            raise _NotPlainError
        if len(body) < sum(table) or _checksum(head[:22] + bytes(4) + head[26:] + table + body) != head[22:26]:
            raise _NotPlainError
        at = 0
        for size in table:
            packet += body[at : at + size]
            at += size
            if size < 255:
                yield bytes(packet)
                packet.clear()
        left -= len(body) + 27
        number += 1


def _checksum(page: bytes) -> bytes:
    """Ogg's checksum is that of zip, but for the order of bits and without the inversions."""
    mirrored = zlib.crc32(page.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return mirrored.to_bytes(4, "big").translate(_REVERSED)


class _Bits:
    """Reads numbers, the least significant bit first."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def read(self, width: int) -> int:
        start, self._at = self._at, self._at + width
        if self._at > 8 * len(self._data):
            raise _NotPlainError
        whole = int.from_bytes(self._data[start // 8 : -(-self._at // 8)], "little")
        return whole >> start % 8 & ((1 << width) - 1)

    def skip(self, width: int) -> None:
        self._at += width


def _check_books(setup: bytes) -> None:
    """Walk the code books of a setup header, and refuse too large ones."""
    bits = _Bits(setup, 8 * len(VORBIS[2]))
    all_entries = all_values = 0
    for _ in range(bits.read(8) + 1):
        if bits.read(24) != 0x56_43_42:
            raise _NotPlainError
        dimensions, entries = bits.read(16), bits.read(24)
        all_entries, all_values = all_entries + entries, all_values + entries * dimensions
        if not dimensions or not entries or entries > MOST_ENTRIES or entries * dimensions > MOST_VALUES:
            raise _NotPlainError
        if all_entries > MOST_ALL_ENTRIES or all_values > MOST_ALL_VALUES:
            raise _NotPlainError
        _skip_lengths(bits, entries)
        _skip_values(bits, entries, dimensions)


def _skip_lengths(bits: _Bits, entries: int) -> None:
    if bits.read(1):  # ordered: how many have each length
        bits.read(5)
        left = entries
        for _ in range(32):
            left -= bits.read(left.bit_length())
            if left <= 0:
                break
        if left:
            raise _NotPlainError
        return
    sparse = bits.read(1)
    for _ in range(entries):
        if not sparse or bits.read(1):
            bits.skip(5)


def _skip_values(bits: _Bits, entries: int, dimensions: int) -> None:
    kind = bits.read(4)
    if kind not in (0, 1, 2):
        raise _NotPlainError
    if kind == 0:
        return
    bits.skip(64)
    width = bits.read(4) + 1
    bits.skip(1 + width * (_root(entries, dimensions) if kind == 1 else entries * dimensions))


def _root(entries: int, dimensions: int) -> int:
    """The largest number whose power of *dimensions* is no more than *entries*."""
    if dimensions >= entries.bit_length():  # 2 to it is more already
        return 1
    root = int(entries ** (1 / dimensions))
    while root**dimensions > entries:
        root -= 1
    while (root + 1) ** dimensions <= entries:
        root += 1
    return root
