"""Damage to real files, such as formats are sensitive to."""

import random
import re
import struct
from collections.abc import Callable, Sequence

from bench.fuzz.crafted import crc

SMALL = (0, 1, 2, 7, 127, 128, 255, 256, 999, 1_000, 32_767, 32_768, 65_535, 65_536, 768_001, 2**24 - 1, 2**24)
LARGE = (2**31 - 1, 2**31, 2**32 - 16, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
LARGEST = 1 << 20
"""Bytes that an input may grow to: time is spent better on many small ones."""
_HEAD = 256
_NAMES = re.compile(rb"[A-Za-z][A-Za-z0-9_]{2}[A-Za-z0-9_ ]")
_OGG_CRC = 0x04C1_1DB7

Mutation = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def mutated(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Give one of the seeds with one to six kinds of damage."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 6))):
        if data:
            chance.choice(MUTATIONS)(chance, data, seeds)
    del data[LARGEST:]
    # Ogg drops a page with a wrong checksum unseen: most damage must come with a right one.
    if data.startswith(b"OggS") and chance.random() < 0.8:
        mend_ogg(data)
    return bytes(data)


def mend_ogg(data: bytearray) -> None:
    """Give all pages right checksums."""
    at = 0
    while (at := data.find(b"OggS\x00", at)) >= 0 and at + 27 <= len(data):
        table = data[at + 27 : at + 27 + data[at + 26]]
        end = at + 27 + len(table) + sum(table)
        data[at + 22 : at + 26] = bytes(4)
        data[at + 22 : at + 26] = struct.pack("<I", crc(bytes(data[at:end]), _OGG_CRC, 32))
        at = max(end, at + 27)


def _place(chance: random.Random, data: bytearray) -> int:
    """Somewhere, rather in the head or near a chunk's name: sound is damaged easily and to little effect."""
    kind = chance.random()
    if kind < 0.4:
        return chance.randrange(min(len(data), _HEAD))
    names = [found.start() for found in _NAMES.finditer(data)] if kind < 0.8 else []
    if names:
        return min(max(chance.choice(names) + chance.randrange(-8, 40), 0), len(data) - 1)
    return chance.randrange(len(data))


def _flip(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    for _number in range(chance.choice((1, 1, 2, 8, 64))):
        data[_place(chance, data)] ^= 1 << chance.randrange(8)


def _set_bytes(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    for _number in range(chance.choice((1, 2, 4))):
        data[_place(chance, data)] = chance.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, chance.randrange(256)))


def _set_field(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """Put an extreme number where a header may have a field."""
    width = chance.choice((1, 2, 3, 4, 4, 4, 8))
    value = chance.choice((*SMALL, *LARGE, len(data), len(data) + 1)) & (1 << 8 * width) - 1
    at = _place(chance, data)
    data[at : at + width] = value.to_bytes(width, chance.choice(("little", "big")))


def _truncate(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[_place(chance, data) :]


def _remove(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = _place(chance, data)
    del data[at : at + chance.choice((1, 2, 4, 8, 64, 1024))]


def _insert(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    size = chance.choice((1, 2, 4, 8, 64, 1024))
    piece = chance.randbytes(size) if chance.random() < 0.5 else bytes([chance.choice((0, 255))]) * size
    at = _place(chance, data)
    data[at:at] = piece


def _repeat(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """Repeat a piece, a chunk where names stand, up to thousands of times."""
    at = _place(chance, data)
    piece = data[at : at + chance.choice((1, 4, 8, 16, 48, 256, 2048))]
    times = min(chance.choice((1, 2, 16, 256, 4096)), LARGEST // max(len(piece), 1))
    data[at:at] = piece * times


def _splice(chance: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    """Go on with another file."""
    other = bytearray(chance.choice(seeds))
    data[_place(chance, data) :] = other[_place(chance, other) :]


def _nest(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """Put the file, or its rest, into itself."""
    at = _place(chance, data)
    data[at:at] = data[chance.choice((0, at)) :]


def _swap(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """Let two pieces change places."""
    size, one, other = chance.choice((4, 8, 32)), _place(chance, data), _place(chance, data)
    first, second = bytes(data[one : one + size]), bytes(data[other : other + size])
    if len(first) == len(second):
        data[one : one + size], data[other : other + size] = second, first


MUTATIONS: tuple[Mutation, ...] = (
    _flip,
    _flip,
    _set_bytes,
    _set_field,
    _set_field,
    _set_field,
    _truncate,
    _remove,
    _insert,
    _repeat,
    _splice,
    _nest,
    _swap,
)
