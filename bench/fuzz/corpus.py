"""The nastiest inputs, by name, with what they must come to: the first that a fuzz tries, and a test's in CI."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from bench.fuzz import crafted as made
from bench.fuzz.child import MEL, RECORDING

DECODED = ""
LONG, UNREADABLE, EMPTY, MISSING = "audio_too_long", "audio_unreadable", "audio_empty", "audio_missing"
RATE, CHANNELS = "audio_rate_unsupported", "audio_too_many_channels"
NO_ARRAY, NO_MEL = "mel_unreadable", "mel_invalid"
_AAC = bytes.fromhex("1230")


@dataclass(frozen=True)
class Case:
    """One input: its bytes when they are asked for, and the code that it must end with."""

    name: str
    code: str
    make: Callable[[], bytes]
    kind: bytes = RECORDING


def _edits(*edits: tuple[int, int]) -> bytes:
    """An edit list of (duration, media time)."""
    return struct.pack(">II", 0, len(edits)) + b"".join(struct.pack(">Iii", *edit, 65_536) for edit in edits)


BOMBS = (
    # Small files that decode to hours; a minute is allowed.
    Case("a FLAC of ten hours in 360 KB", LONG, lambda: made.flac(36_000)),
    Case("a FLAC of ten hours that says one sample", LONG, lambda: made.flac(36_000, told=1)),
    Case("a FLAC of ten hours that says no length", LONG, lambda: made.flac(36_000, told=0)),
    Case("a FLAC that says 2^36 samples", LONG, lambda: made.flac(1, told=2**36 - 1)),
    Case("an Opus file whose last page lies in the far future", LONG, lambda: made.opus(2**62)),
    Case("an MP3 whose Xing header claims years", LONG, lambda: made.mp3(2**31)),
    # Small files that ask for gigabytes.
    Case(
        "an MP4 with an index of eighty million samples",
        UNREADABLE,
        lambda: made.mp4(samples=80_000_000, sample_size=1),
    ),
    Case("an MP4 with an index as large as is allowed", LONG, lambda: made.mp4(samples=6_000_000, sample_size=1)),
    Case(
        "an MP4 of sixty tracks with such an index",
        UNREADABLE,
        lambda: made.mp4(samples=5_000_000, sample_size=1, tracks=60),
    ),
    Case(
        "an MP4 of PCM with a chunk of four thousand million samples",
        UNREADABLE,
        lambda: made.mp4(samples=2**32 - 1, duration=1, tracks=60),
    ),
    Case(
        "an MP4 that plays ten thousand samples a thousand and more times",
        UNREADABLE,
        lambda: made.mp4(samples=10_000, sample_size=1, media=bytes(10_000), edits=_edits(*[(20_000, 0)] * 1_500)),
    ),
    Case("an MP4 of fragments of millions of samples", UNREADABLE, lambda: made.fragmented(5_000_000, runs=3)),
    Case("an MP4 whose index unpacks to 600 MB", UNREADABLE, lambda: made.packed_mp4(600 * 1024**2)),
    Case("an Apple Lossless packet of 16 million samples", UNREADABLE, lambda: made.alac(2**24)),
    Case("forty tracks of such packets", UNREADABLE, lambda: made.alac(2**24, tracks=40)),
    Case("forty tracks of Opus of 255 channels", UNREADABLE, lambda: made.many_channels(40)),
    Case("a FLAC with a cover that unpacks to 500 MB", DECODED, lambda: made.flac(1, picture=made.png(11_000))),
    Case(
        "a Matroska file of a thousand tracks",
        UNREADABLE,
        lambda: made.matroska(b"A_AAC", _AAC, [bytes(20)], tracks=999, channels=6),
    ),
    Case("an MP4 of three thousand tracks", UNREADABLE, lambda: made.mp4(tracks=3_000)),
    # Tags that unpack to a gigabyte.
    Case("packed tags before an MP3", DECODED, lambda: made.packed_tag(10**7, 50) + made.mp3(10)),
    Case("packed tags before a FLAC", DECODED, lambda: made.packed_tag(10**7, 50) + made.flac(1)),
    Case("a hundred packed tags in a row", UNREADABLE, lambda: made.packed_tag(10**7, 1) * 100 + made.mp3(10)),
    Case("packed tags in a chunk of a WAV", UNREADABLE, lambda: made.with_tag_chunk(made.packed_tag(10**7, 50))),
    Case("packed tags at the end of a DSF", UNREADABLE, lambda: made.dsf(made.packed_tag(10**7, 50))),
    # Vorbis code books that libvorbis unpacks on the stack, or into gigabytes.
    Case("a Vorbis code book of four million entries", UNREADABLE, lambda: made.vorbis(made.vorbis_setup(1, 22))),
    Case("256 Vorbis code books of 2^18 entries", UNREADABLE, lambda: made.vorbis(made.vorbis_setup(256, 18))),
    Case(
        "a Vorbis bomb behind a harmless header with a wrong checksum",
        UNREADABLE,
        lambda: made.vorbis(
            made.vorbis_setup(1, 22),
            before=made.ogg_page([made.VORBIS_TAGS, made.vorbis_setup(1, 8)], 1, damaged=True),
        ),
    ),
    Case("the same code books in Matroska", UNREADABLE, lambda: made.matroska_vorbis(made.vorbis_setup(256, 22))),
)

HEADERS = (
    Case("a WAV of 0 Hz", UNREADABLE, lambda: made.wav(rate=0)),
    Case("a WAV of 1 Hz", RATE, lambda: made.wav(rate=1)),
    Case("a WAV of 999 Hz", RATE, lambda: made.wav(rate=999)),
    Case("a WAV of 768 001 Hz", RATE, lambda: made.wav(rate=768_001)),
    Case("a WAV of 2^31 - 1 Hz", RATE, lambda: made.wav(rate=2**31 - 1)),
    Case("a WAV of 2^31 Hz", UNREADABLE, lambda: made.wav(rate=2**31)),
    Case("a WAV of 767 999 Hz", DECODED, lambda: made.wav(rate=767_999)),
    Case("a WAV without channels", UNREADABLE, lambda: made.wav(channels=0)),
    Case("a WAV of 9 channels", CHANNELS, lambda: made.wav(channels=9, align=18)),
    Case("a WAV of 400 channels", CHANNELS, lambda: made.wav(channels=400, align=800)),
    Case("a WAV of 65 535 channels", UNREADABLE, lambda: made.wav(channels=65_535, align=65_535)),
    Case("a WAV whose frames have no bytes", DECODED, lambda: made.wav(align=0)),
    Case("a WAV of samples without bits", UNREADABLE, lambda: made.wav(bits=0)),
    Case("a WAV of samples of 65 535 bits", UNREADABLE, lambda: made.wav(bits=65_535)),
    Case("a WAV that says 2^32 - 1 bytes", DECODED, lambda: made.wav(data_size=2**32 - 1, riff_size=2**32 - 1)),
    Case("a WAV of a hundred thousand empty chunks", DECODED, lambda: made.wav(before=b"junk\0\0\0\0" * 100_000)),
    Case("an ADPCM WAV of blocks of 65 535 bytes", DECODED, lambda: made.wav(tag=2, align=65_535, extra=bytes(22))),
    Case("an Opus file that ends before it begins", EMPTY, lambda: made.opus(-1)),
    Case("an Opus file of 255 channels", UNREADABLE, lambda: made.opus(2_880, channels=255)),
    Case("an MP4 of 0 Hz", UNREADABLE, lambda: made.mp4(rate=0)),
    Case("an MP4 of 65 535 channels", UNREADABLE, lambda: made.mp4(channels=65_535)),
    Case("an MP4 whose samples last for days", DECODED, lambda: made.mp4(duration=2**31 - 1)),
    Case("an MP4 whose edits last for years", DECODED, lambda: made.mp4(edits=_edits((2**32 - 1, -1), (2**32 - 1, 0)))),
)

MELS = (
    Case("a mel of 2^60 frames", NO_ARRAY, lambda: made.npy("(1152921504606846976, 128)"), MEL),
    Case(
        "a mel of minus two times minus five frames", NO_MEL, lambda: made.npy("(-2, -5, 128)", data=bytes(5120)), MEL
    ),
    Case("a mel without dimensions", NO_MEL, lambda: made.npy("()", data=bytes(4)), MEL),
    Case("a mel of a hundred dimensions", NO_ARRAY, lambda: made.npy("(" + "1," * 100 + ")", data=bytes(4)), MEL),
    Case("a mel of Python objects", NO_ARRAY, lambda: made.npy("(8, 128)", dtype="'|O'", data=bytes(8192)), MEL),
    Case("a mel of texts of 2^30 letters", NO_ARRAY, lambda: made.npy("(1, 128)", dtype="'<U1073741824'"), MEL),
    Case("a mel of nested records", NO_ARRAY, lambda: made.npy("(1,)", dtype="[('a', '<f4', (9999, 9999))]"), MEL),
    Case("a mel whose header is 4 GB long", NO_ARRAY, lambda: made.npy("(1, 128)", version=2, length=2**32 - 1), MEL),
    Case("a mel whose header is nested deeply", NO_ARRAY, lambda: made.npy("(" * 150 + ")" * 150), MEL),
    Case("a mel of an empty file", NO_ARRAY, lambda: b"", MEL),
    Case("a mel that calls a function", NO_ARRAY, lambda: made.npy("(len('a'), 128)", data=bytes(512)), MEL),
    Case("a mel of a million frames that has them not", NO_ARRAY, lambda: made.npy("(1000000, 128)"), MEL),
    Case("a small mel", DECODED, lambda: made.npy("(8, 128)", data=bytes(4096)), MEL),
)

CASES = BOMBS + HEADERS + MELS
