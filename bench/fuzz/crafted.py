"""Small files that ask for much: what no encoder writes, and what mutations would take years to find.

Layouts: FLAC (RFC 9639), Ogg (RFC 3533), Opus in Ogg (RFC 7845), Vorbis I (xiph.org), ISO 14496-12 and QuickTime
for MP4, Matroska (RFC 9559), PNG (RFC 2083), Apple Lossless (its published reference), NPY (numpy.lib.format).
"""

import struct
import zlib
from collections.abc import Iterable
from functools import lru_cache

RATE = 44_100


class Bits:
    """Bits put together, the most or the least significant first."""

    def __init__(self) -> None:
        self._bits: list[str] = []

    def put(self, *fields: tuple[int, int], least_first: bool = False) -> "Bits":
        """Append (value, width) pairs."""
        for value, width in fields:
            text = f"{value:0{width}b}" if width else ""
            self._bits.append(text[::-1] if least_first else text)
        return self

    def done(self, *, least_first: bool = False) -> bytes:
        """Give the bytes, filled up with zeros."""
        bits = "".join(self._bits)
        bits += "0" * (-len(bits) % 8)
        octets = (bits[at : at + 8] for at in range(0, len(bits), 8))
        return bytes(int(octet[::-1] if least_first else octet, 2) for octet in octets)


@lru_cache
def _table(polynomial: int, width: int) -> list[int]:
    top, mask = 1 << (width - 1), (1 << width) - 1
    table = []
    for value in range(256):
        rest = value << (width - 8)
        for _ in range(8):
            rest = (rest << 1 ^ polynomial) & mask if rest & top else rest << 1 & mask
        table.append(rest)
    return table


def crc(data: bytes, polynomial: int, width: int) -> int:
    """Checksum, most significant bit first, no inversion."""
    table, mask, rest = _table(polynomial, width), (1 << width) - 1, 0
    for byte in data:
        rest = (rest << 8 & mask) ^ table[rest >> (width - 8) ^ byte]
    return rest


# WAV


def wav(
    *,
    tag: int = 1,
    channels: int = 1,
    rate: int = 8_000,
    align: int = 2,
    bits: int = 16,
    byte_rate: int = 16_000,
    data: bytes = bytes(2_000),
    data_size: int | None = None,
    riff_size: int | None = None,
    before: bytes = b"",
    extra: bytes = b"",
) -> bytes:
    """Write a RIFF whose every field may lie; `before` stands in front of the data."""
    form = struct.pack("<HHIIHH", tag, channels, rate, byte_rate, align, bits) + extra
    size = len(data) if data_size is None else data_size
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + before + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body) if riff_size is None else riff_size) + body


# FLAC


def flac(
    seconds: float, *, rate: int = RATE, channels: int = 1, told: int | None = None, picture: bytes = b""
) -> bytes:
    """Write silence: some ten bytes for each 65 535 samples. `told` is the number of samples that the header names."""
    total = int(seconds * rate)
    info = struct.pack(">HH", 65_535, 65_535) + bytes(6)
    info += Bits().put((rate, 20), (channels - 1, 3), (15, 5), (total if told is None else told, 36)).done() + bytes(16)
    blocks = [(0, info)] + ([(6, _picture(picture))] if picture else [])
    head = b"fLaC"
    for number, (kind, body) in enumerate(blocks):
        head += struct.pack(">I", (kind | (0x80 if number == len(blocks) - 1 else 0)) << 24 | len(body)) + body
    frames = (_flac_frame(number, channels) for number in range(-(-total // 65_535)))
    return head + b"".join(frames)


def _flac_frame(number: int, channels: int) -> bytes:
    head = bytes([0xFF, 0xF8, 0x70, (channels - 1) << 4]) + _utf8(number) + struct.pack(">H", 65_534)
    body = head + bytes([crc(head, 0x07, 8)]) + bytes(3) * channels
    return body + struct.pack(">H", crc(body, 0x8005, 16))


def _utf8(number: int) -> bytes:
    """Code a number as UTF-8 does, surrogates too."""
    if number < 0x80:
        return bytes([number])
    tail: list[int] = []
    while number >= 1 << (6 - len(tail) if tail else 7):
        tail.insert(0, 0x80 | number & 63)
        number >>= 6
    return bytes([(0xFF00 >> (len(tail) + 1)) & 0xFF | number, *tail])


def _picture(png: bytes) -> bytes:
    return struct.pack(">II", 3, 9) + b"image/png" + bytes(20) + struct.pack(">I", len(png)) + png


def png(side: int) -> bytes:
    """Write a black square of so many pixels a side: a thousandth of what it takes up when it is unpacked."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 4 * side)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


# Ogg


def ogg_page(
    packets: Iterable[bytes], number: int, *, kind: int = 0, granule: int = 0, serial: int = 7, damaged: bool = False
) -> bytes:
    """Write a page of whole packets; `kind` 2 begins a stream and 4 ends one."""
    packets = list(packets)
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    head = b"OggS\x00" + struct.pack("<BqIIIB", kind, granule, serial, number, 0, len(lacing))
    page = head + lacing + b"".join(packets)
    checksum = crc(page, 0x04C1_1DB7, 32) ^ damaged
    return page[:22] + struct.pack("<I", checksum) + page[26:]


def opus(granule: int, *, channels: int = 1, packet: bytes = b"\xfc" + bytes(20), packets: int = 3) -> bytes:
    """Write an Opus file whose last page says where it ends, in samples of 48 kHz."""
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, channels, 312, 48_000, 0, 0)
    tags = b"OpusTags" + struct.pack("<II", 0, 0)
    return ogg_page([head], 0, kind=2) + ogg_page([tags], 1) + ogg_page([packet] * packets, 2, kind=4, granule=granule)


VORBIS_HEAD = b"\x01vorbis" + struct.pack("<IBIiiiBB", 0, 1, RATE, 0, 128_000, 0, 0xB8, 1)
VORBIS_TAGS = b"\x03vorbis" + struct.pack("<II", 0, 0) + b"\x01"


def vorbis_setup(books: int, log_entries: int, dimensions: int = 1) -> bytes:
    """Write a setup header whose code books have 2^`log_entries` entries each, in twelve bytes a book."""
    bits = Bits().put(*((byte, 8) for byte in b"\x05vorbis"), (books - 1, 8), least_first=True)
    for _ in range(books):
        entries = 1 << log_entries
        lengths = ((1, 1), (log_entries - 1, 5), (entries, log_entries + 1))
        bits.put((0x564342, 24), (dimensions, 16), (entries, 24), *lengths, (0, 4), least_first=True)
    bits.put((0, 6), (0, 16), least_first=True)  # time
    bits.put((0, 6), (1, 16), (0, 5), (0, 2), (4, 4), least_first=True)  # floor
    bits.put((0, 6), (0, 16), (0, 24), (256, 24), (255, 24), (0, 6), (0, 8), (0, 3), (0, 1), least_first=True)
    bits.put((0, 6), (0, 16), (0, 1), (0, 1), (0, 2), (0, 24), least_first=True)  # mapping
    bits.put((0, 6), (0, 1), (0, 16), (0, 16), (0, 8), (1, 1), least_first=True)  # mode
    return bits.done(least_first=True)


def vorbis(setup: bytes, *, before: bytes = b"") -> bytes:
    """Write an Ogg Vorbis file with this setup header; `before` stands between the first page and it."""
    sound = ogg_page([bytes(20)] * 3, 2, kind=4, granule=3_000)
    return ogg_page([VORBIS_HEAD], 0, kind=2) + before + ogg_page([VORBIS_TAGS, setup], 1) + sound


# MP3


def mp3(claimed_frames: int, *, real_frames: int = 10) -> bytes:
    """Write silent frames of 128 kbit/s, the first one a Xing header that claims so many."""
    head, size = b"\xff\xfb\x90\xc0", 417
    xing = head + bytes(17) + b"Xing" + struct.pack(">III", 3, claimed_frames, 0xFFFF_FFFF)
    return xing.ljust(size, b"\0") + (head + bytes(size - 4)) * real_frames


# MP4


def box(kind: bytes, *content: bytes) -> bytes:
    """Write a box."""
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + kind + body


def mp4(
    *,
    samples: int = 100,
    sample_size: int = 2,
    duration: int = 2,
    codec: bytes = b"sowt",
    config: bytes = b"",
    tracks: int = 1,
    media: bytes = bytes(200),
    edits: bytes = b"",
    rate: int = 8_000,
    channels: int = 1,
    more: bytes = b"",
) -> bytes:
    """Write a QuickTime file whose table of samples says how many there are, not how long each is."""
    kind = box(b"ftyp", b"qt  \x00\x00\x00\x00qt  ")
    start = len(kind) + 8
    entry = box(codec, bytes(6), struct.pack(">HHHIHHHHI", 1, 0, 0, 0, channels, 16, 0, 0, rate << 16), config)
    table = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), entry),
        box(b"stts", struct.pack(">IIII", 0, 1, samples, duration)),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, samples, 1)),
        box(b"stsz", struct.pack(">III", 0, sample_size, samples)),
        box(b"stco", struct.pack(">III", 0, 1, start)),
    )
    length = min(samples * duration, 0xFFFF_FFFF)
    handler = box(b"hdlr", bytes(8), b"soun", bytes(13))
    header = box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, rate, length, 0, 0))
    track = box(
        b"trak",
        box(b"tkhd", struct.pack(">IIIIII", 7, 0, 0, 1, 0, length), bytes(60)),
        box(b"edts", box(b"elst", edits)) if edits else b"",
        box(b"mdia", header, handler, box(b"minf", box(b"smhd", bytes(8)), table)),
    )
    movie = box(b"mvhd", struct.pack(">IIIII", 0, 0, 0, rate, length), bytes(80))
    return kind + box(b"mdat", media) + box(b"moov", movie, track * tracks, more)


def fragmented(samples: int, *, runs: int = 1) -> bytes:
    """Write an MP4 with a fragment whose runs have so many samples each, of one size."""
    defaults = box(b"mvex", box(b"trex", struct.pack(">IIIIII", 0, 1, 1, 2, 2, 0)))
    track = box(b"traf", box(b"tfhd", struct.pack(">II", 0, 1)), box(b"trun", struct.pack(">II", 0, samples)) * runs)
    fragment = box(b"moof", box(b"mfhd", struct.pack(">II", 0, 1)), track)
    return mp4(samples=1, more=defaults) + fragment + box(b"mdat", bytes(200))


def packed_mp4(size: int) -> bytes:
    """Write a QuickTime file whose index is packed and unpacks to so many zeros, whole MiB of them."""
    packer, piece = zlib.compressobj(9), bytes(2**20)
    packed = b"".join(packer.compress(piece) for _ in range(size // len(piece))) + packer.flush()
    index = box(b"cmov", box(b"dcom", b"zlib"), box(b"cmvd", struct.pack(">I", size), packed))
    return box(b"ftyp", b"qt  \x00\x00\x00\x00qt  ") + box(b"moov", index)


# Matroska


def element(number: str, *content: bytes) -> bytes:
    """Write an element with its size in eight bytes."""
    body = b"".join(content)
    return bytes.fromhex(number) + struct.pack(">Q", 1 << 56 | len(body)) + body


def matroska(
    codec: bytes, private: bytes, blocks: Iterable[bytes], *, tracks: int = 1, channels: int = 1, spread: bool = False
) -> bytes:
    """Write a Matroska file with tracks of one codec and blocks of the first, or of all in turn."""
    head = element("1a45dfa3", element("4282", b"matroska"), element("4287", b"\x04"), element("4285", b"\x02"))
    sound = element("e1", element("b5", struct.pack(">d", RATE)), element("9f", bytes([channels])))
    entries = (
        element(
            "ae",
            element("d7", struct.pack(">H", number)),
            element("73c5", struct.pack(">H", number)),
            element("83", b"\x02"),
            element("86", codec),
            element("63a2", private),
            sound,
        )
        for number in range(1, tracks + 1)
    )
    pieces = (
        element("a3", bytes([0x80 | at % (tracks if spread else 1) + 1]), struct.pack(">h", at), b"\x80", data)
        for at, data in enumerate(blocks)
    )
    info = element("1549a966", element("2ad7b1", b"\x0f\x42\x40"))
    return head + element(
        "18538067", info, element("1654ae6b", *entries), element("1f43b675", element("e7", b"\0"), *pieces)
    )


def matroska_vorbis(setup: bytes) -> bytes:
    """Write a Matroska file with Vorbis in it."""
    private = bytes([2, len(VORBIS_HEAD), len(VORBIS_TAGS)]) + VORBIS_HEAD + VORBIS_TAGS + setup
    return matroska(b"A_VORBIS", private, [bytes(20)] * 5)


def alac(frame: int, *, channels: int = 2, tracks: int = 1) -> bytes:
    """Write one packet of Apple Lossless that decodes to so many samples of silence, 26 bits for 65 535."""
    config = struct.pack(">IBBBBBBHIII", frame, 0, 16, 40, 10, 14, channels, 255, 0, 0, RATE)
    bits = Bits().put((channels - 1, 3), (0, 16), (1, 1), (0, 3), (frame, 32), (0, 16))
    for _ in range(channels):
        bits.put((0, 4), (1, 4), (4, 3), (0, 5))
    for _ in range(channels):
        left = frame
        while left > 0:  # a zero, then as many more as 16 bits tell
            run = min(left - 1, 65_535)
            bits.put((0, 1), (0x1FF, 9), (run, 16))
            left -= 1 + run
    bits.put((7, 3))
    return matroska(b"A_ALAC", config, [bits.done()] * tracks, tracks=tracks, channels=channels, spread=True)


def many_channels(tracks: int) -> bytes:
    """Write tracks of Opus of 255 channels, each of which has a decoder of its own."""
    head = b"OpusHead" + struct.pack("<BBHIhBBB", 1, 255, 312, 48_000, 0, 255, 255, 0) + bytes(range(255))
    packets = [b"\xfc" + bytes(20)] * tracks
    return matroska(b"A_OPUS", head, packets, tracks=tracks, channels=255, spread=True)


# NPY


def npy(shape: str, *, dtype: str = "'<f4'", data: bytes = b"", version: int = 1, length: int | None = None) -> bytes:
    """Write an array whose header holds these texts."""
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    size = len(text) if length is None else length
    packed = struct.pack("<H", size & 0xFFFF) if version == 1 else struct.pack("<I", size)
    return b"\x93NUMPY" + bytes([version, 0]) + packed + text + data


# Tags


def packed_tag(size: int, frames: int) -> bytes:
    """Write an ID3v2.4 tag of packed frames that unpack to so many bytes each."""
    packed = zlib.compress(b"\x03" + b"a" * (size - 1), 9)
    frame = _seven_bits(4 + len(packed)) + b"\x00\x09" + _seven_bits(size) + packed
    body = b"".join(b"T%03d" % number + frame for number in range(frames))
    return b"ID3\x04\x00\x00" + _seven_bits(len(body)) + body


def _seven_bits(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def with_tag_chunk(tag: bytes) -> bytes:
    """Write a WAV of MPEG sound, which libsndfile leaves to FFmpeg, with a tag in a chunk."""
    return wav(tag=0x50, before=b"ID3 " + struct.pack("<I", len(tag)) + tag)


# Formats that no encoder here writes


def dsf(tag: bytes = b"") -> bytes:
    """Write a twentieth of a second of DSD, with a tag at its end."""
    blocks = bytes([0x69]) * 4096 * 4
    head = b"DSD " + struct.pack("<QQQ", 28, 92 + len(blocks) + len(tag), 92 + len(blocks) if tag else 0)
    form = b"fmt " + struct.pack("<QIIIIIIQII", 52, 1, 0, 1, 1, 2_822_400, 1, 8 * len(blocks), 4096, 0)
    return head + form + b"data" + struct.pack("<Q", 12 + len(blocks)) + blocks + tag


def amr() -> bytes:
    """Write AMR of ten frames of 12.2 kbit/s."""
    return b"#!AMR\n" + (b"\x3c" + bytes(31)) * 10
