"""Make an Ogg file's bytes depend on its content alone: libsndfile draws the stream's serial number by the clock.

Page layout and checksum: RFC 3533. The checksum is a CRC-32 (polynomial 0x04C11DB7, no inversion), which is linear:
changing four bytes changes it by the checksum of the change alone, so no page is read whole.
"""

import struct
from functools import lru_cache
from typing import BinaryIO

SERIAL = 0x0056_4651
"""The serial number that every file gets; one stream a file needs no other."""
POLYNOMIAL = 0x04C1_1DB7
HEADER = 27
SERIAL_AT, CHECKSUM_AT, SEGMENTS_AT = 14, 22, 26


def fix_serial(file: BinaryIO) -> None:
    """Give all pages of the Ogg file, open for reading and writing, the one serial number."""
    start = 0
    while True:
        file.seek(start)
        header = file.read(HEADER)
        if len(header) < HEADER or header[:4] != b"OggS":
            return
        table = file.read(header[SEGMENTS_AT])
        length = HEADER + len(table) + sum(table)
        (serial,) = struct.unpack_from("<I", header, SERIAL_AT)
        (checksum,) = struct.unpack_from("<I", header, CHECKSUM_AT)
        file.seek(start + SERIAL_AT)
        file.write(struct.pack("<I", SERIAL))
        file.seek(start + CHECKSUM_AT)
        file.write(struct.pack("<I", checksum ^ _checksum_of_change(serial ^ SERIAL, length - SERIAL_AT)))
        start += length


def _checksum_of_change(change: int, left: int) -> int:
    """Checksum of a page that is zero but for the little-endian `change`, `left` bytes before its end."""
    polynomial = int.from_bytes(struct.pack("<I", change), "big")
    return _multiply(polynomial, _power(8 * (left - 4) + 32))


@lru_cache(maxsize=4096)
def _power(exponent: int) -> int:
    """x to the exponent, modulo the polynomial."""
    result, square = 1, 2
    while exponent:
        if exponent & 1:
            result = _multiply(result, square)
        square = _multiply(square, square)
        exponent >>= 1
    return result


def _multiply(a: int, b: int) -> int:
    """Product of two polynomials over GF(2), modulo the CRC's."""
    result = 0
    for bit in range(31, -1, -1):
        result <<= 1
        if result >> 32:
            result ^= 1 << 32 | POLYNOMIAL
        if a >> bit & 1:
            result ^= b
    return result
