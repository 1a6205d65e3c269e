"""Tell by its first bytes what a file is. The name is never asked, and nothing headerless is guessed.

Each kind names its demuxer, so that no library probes the content: FFmpeg's probing would also find playlists,
which open other files and addresses.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

HEAD = 64 * 1024
MOST_TAGS = 64


class Readable(Protocol):
    """A file open for reading bytes."""

    def read(self, size: int = -1, /) -> bytes: ...  # noqa: D102
    def seek(self, offset: int, whence: int = 0, /) -> int: ...  # noqa: D102
    def tell(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Kind:
    """A container, FFmpeg's name for its demuxer, and whether libsndfile is asked first."""

    container: str
    demuxer: str
    libsndfile: bool = False


WAV = Kind("wav", "wav", libsndfile=True)
MP3 = Kind("mp3", "mp3")
ADTS = Kind("aac", "aac")
TS = Kind("mpegts", "mpegts")
# The first bytes, as a pattern from the start of the file.
PATTERNS: tuple[tuple[bytes, Kind], ...] = (
    (rb"(RIFF|RIFX|RF64|BW64)....WAVE", WAV),
    (rb"RIFF....AVI ", Kind("avi", "avi")),
    (rb"riff\x2e\x91\xcf\x11", Kind("w64", "w64", libsndfile=True)),
    (rb"FORM....AIF[FC]", Kind("aiff", "aiff", libsndfile=True)),
    (rb"\.snd", Kind("au", "au", libsndfile=True)),
    (rb"caff\x00\x01", Kind("caf", "caf", libsndfile=True)),
    (rb"Creative Voice File\x1a", Kind("voc", "voc")),  # libsndfile takes the headers of later blocks for samples
    (rb"NIST_1A\n", Kind("nist", "nistsphere", libsndfile=True)),
    (rb"FORM....(8SVX|16SV)", Kind("svx", "iff", libsndfile=True)),
    (rb"OggS\x00", Kind("ogg", "ogg", libsndfile=True)),
    (rb"fLaC", Kind("flac", "flac")),
    (rb"....(ftyp|moov|mdat|wide|skip|free|pnot)", Kind("mp4", "mov")),
    (rb"\x1a\x45\xdf\xa3", Kind("matroska", "matroska")),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Kind("asf", "asf")),
    (rb"FLV\x01", Kind("flv", "flv")),
    (rb"\x00\x00\x01\xba", Kind("mpeg", "mpeg")),
    (rb"#!AMR(-WB)?\n", Kind("amr", "amr")),
    (rb"MAC ", Kind("ape", "ape")),
    (rb"wvpk", Kind("wavpack", "wv")),
    (rb"TTA1", Kind("tta", "tta")),
    (rb"tBaK", Kind("tak", "tak")),
    (rb"DSD \x1c\x00\x00\x00", Kind("dsf", "dsf")),
    (rb"MPCK", Kind("musepack", "mpc8")),
    (rb"MP\+", Kind("musepack", "mpc")),
    (rb"\.RMF", Kind("realmedia", "rm")),
    (rb"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", Kind("mxf", "mxf")),
)
COMPILED = tuple((re.compile(pattern, re.DOTALL), kind) for pattern, kind in PATTERNS)

BITRATES = {  # kbit/s by (MPEG 1?, layer), without the free and the forbidden index
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
MPEG_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def sniff(file: Readable) -> Kind | None:
    """Say what `file` is, or `None` where its content is no format that we read. The position ends anywhere."""
    start = past_tags(file)
    file.seek(start)
    head = file.read(HEAD)
    if head.startswith(b"ID3"):  # one tag too many: no library shall see it
        return None
    size = file.seek(0, 2) - start
    for pattern, kind in COMPILED:
        if pattern.match(head):
            return kind
    if _is_transport_stream(head):
        return TS
    for length, kind in ((_mpeg_frame, MP3), (_adts_frame, ADTS), (_ac3_frame, Kind("ac3", "ac3"))):
        if _is_run_of_frames(head, size, length):
            return kind
    return None


def past_tags(file: Readable) -> int:
    """Length of the ID3v2 tags at the beginning; any format may follow them. The position ends anywhere."""
    start = 0
    for _ in range(MOST_TAGS):
        file.seek(start)
        tag = file.read(10)
        if len(tag) < 10 or tag[:3] != b"ID3" or max(tag[6:10]) > 127:
            break
        start += 10 + (tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9])
    return start


def _is_transport_stream(head: bytes) -> bool:
    """Sync bytes at five packets of 188 bytes, or of 192 with a time stamp before each (m2ts)."""
    starts = ((0, 188), (4, 192))
    return any(all(head[at + n * step : at + n * step + 1] == b"G" for n in range(5)) for at, step in starts)


def _is_run_of_frames(head: bytes, size: int, length: Callable[[bytes], int]) -> bool:
    """Three frames in a row somewhere in the head, or whole frames from the first byte to the last."""
    at = 0
    while 0 <= (at := head.find(b"\x0b\x77" if length is _ac3_frame else b"\xff", at)) <= len(head) - 7:
        end, frames = at, 0
        while frames < 3 and (step := length(head[end : end + 7])):
            end, frames = end + step, frames + 1
        if frames == 3 or (at == 0 and frames and (end == size or head[end : end + 3] == b"TAG")):
            return True
        at += 1
    return False


def _mpeg_frame(header: bytes) -> int:
    """Bytes of the MPEG audio frame (ISO 11172-3, 13818-3) that begins here, 0 where none does."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bits, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or bits in (0, 15) or rate == 3:
        return 0
    kbits = BITRATES[version == 3, layer][bits - 1]
    padding = header[2] >> 1 & 1
    hertz = MPEG_RATES[version][rate]
    if layer == 1:
        return (12_000 * kbits // hertz + padding) * 4
    return (72_000 if layer == 3 and version != 3 else 144_000) * kbits // hertz + padding


def _adts_frame(header: bytes) -> int:
    """Bytes of the ADTS frame (ISO 13818-7) that begins here, 0 where none does."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return 0
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > 7 else 0


AC3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)


def _ac3_frame(header: bytes) -> int:
    """Bytes of the AC-3 frame (ATSC A/52) that begins here, 0 where none does."""
    if len(header) < 6 or header[:2] != b"\x0b\x77" or header[4] >> 6 == 3 or header[4] & 63 >= 38:
        return 0
    if header[5] >> 3 > 10:  # bsid: 11 and above is E-AC-3
        return 0
    kbits, odd = AC3_KBITS[(header[4] & 63) // 2], header[4] & 1
    words = (kbits * 2, kbits * 320 // 147 + odd, kbits * 3)[header[4] >> 6]
    return words * 2
