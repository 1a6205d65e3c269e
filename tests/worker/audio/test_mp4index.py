"""How large an MP4's index is, told before it is made."""

import io
import struct

import pytest

from bench.fuzz.crafted import box, fragmented, mp4
from bench.fuzz.subject import MOST_MIB, Subject
from tests.worker.audio.made import by_ffmpeg, noise, read
from worker.audio.errors import AudioUnreadable
from worker.audio.mp4index import MOST_ENTRIES, MOST_TABLES, check_index, index_entries


def index_of(data: bytes) -> bytes:
    at = data.index(b"moov") - 4
    return data[at : at + int.from_bytes(data[at : at + 4], "big")]


@pytest.mark.parametrize(
    ("container", "codec", "picture"),
    [("ipod", "aac", ""), ("mov", "pcm_s16le", ""), ("mp4", "aac", "mpeg4"), ("ipod", "alac", ""), ("mov", "aac", "")],
)
def test_a_recording_has_about_as_many_entries_as_packets(container: str, codec: str, picture: str) -> None:
    data = by_ffmpeg(noise(441_000), 44_100, container, codec, picture=picture)
    assert 100 <= index_entries(index_of(data)) <= 500
    check_index(io.BytesIO(data))


def test_twelve_hours_of_pcm_have_a_small_index_though_each_sample_counts() -> None:
    # 1024-sample runs out of chunks of a second, as FFmpeg and QuickTime write them.
    data = mp4(samples=44_100 * 12 * 3_600, duration=1)
    chunks = data.replace(struct.pack(">III", 1, 44_100 * 12 * 3_600, 1), struct.pack(">III", 1, 44_100, 1))
    assert index_entries(index_of(chunks)) < 100
    check_index(io.BytesIO(chunks))


@pytest.mark.parametrize(
    "data",
    [
        mp4(samples=MOST_ENTRIES + 1_000, sample_size=1),
        mp4(samples=MOST_ENTRIES // 2, sample_size=1, tracks=3),
        mp4(samples=MOST_ENTRIES // 10, sample_size=1, edits=struct.pack(">II", 0, 11) + bytes(12 * 11)),
        fragmented(MOST_ENTRIES + 1_000),
        box(b"free", index_of(mp4(samples=MOST_ENTRIES + 1_000, sample_size=1))),
        box(b"moov", box(b"trak", box(b"free", box(b"stsz", struct.pack(">III", 0, 1, 2**31))))),
        box(b"udta", box(b"trak", box(b"wave", box(b"stsz", struct.pack(">III", 0, 1, 2**31))))),
        b"\x00\x00\x00\x01moov" + struct.pack(">Q", 2**40) + index_of(mp4(samples=2**31, sample_size=1))[8:],
        b"\x00\x00\x00\x00moov" + index_of(mp4(samples=2**31, sample_size=1))[8:],
        box(b"moov", b"stszxx" * (MOST_TABLES + 1)),
        box(b"moov", box(b"cmov", box(b"dcom", b"zlib"), box(b"cmvd", bytes(4)))),
    ],
)
def test_an_index_that_asks_for_too_much_is_refused_wherever_it_stands(data: bytes) -> None:
    with pytest.raises(AudioUnreadable):
        check_index(io.BytesIO(box(b"ftyp", b"qt  ") + data))


def test_a_table_of_times_in_the_wrong_place_does_not_make_a_track_look_like_pcm() -> None:
    whole = mp4(samples=MOST_ENTRIES + 1_000, sample_size=1)
    decoy = box(b"free", box(b"trak"), box(b"stts", struct.pack(">IIII", 0, 1, 1, 1)))
    with pytest.raises(AudioUnreadable):
        check_index(io.BytesIO(whole[: whole.index(b"moov") - 4] + box(b"moov", index_of(whole)[8:], decoy)))


def test_the_largest_index_that_is_allowed_fits_into_the_bound() -> None:
    with Subject() as subject:
        outcome = subject.give(mp4(samples=MOST_ENTRIES, sample_size=1))
    assert outcome.fault == ""
    assert outcome.grown_kib < MOST_MIB * 1024


def test_media_that_look_like_an_index_do_no_harm() -> None:
    data = mp4(samples=100, media=box(b"trak", box(b"stsz", struct.pack(">III", 0, 1, 2**31))) * 5)
    assert len(read(data)) > 0
