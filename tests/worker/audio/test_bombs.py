"""Small files that ask for much, and headers that cannot be: each is refused with its code, in little memory."""

import io
import struct
import weakref

import pytest

from bench.fuzz.corpus import BOMBS, CASES, Case
from bench.fuzz.crafted import matroska, mp4, png, vorbis, vorbis_setup, wav
from bench.fuzz.subject import Subject
from tests.worker.audio.made import by_ffmpeg, by_libsndfile, noise
from worker.audio.bounds import MAX_STREAMS
from worker.audio.decode import open_audio
from worker.audio.oggheaders import is_plain


@pytest.fixture(scope="module")
def subject():
    with Subject() as running:
        yield running


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_absurd_input_ends_with_its_code_in_bounded_time_and_memory(subject: Subject, case: Case) -> None:
    outcome = subject.give(case.make(), case.kind)
    assert (outcome.code, outcome.fault) == (case.code, "")


def test_memory_and_files_of_a_refused_bomb_are_given_back(subject: Subject) -> None:
    inputs = [data for data in (case.make() for case in BOMBS[3:]) if len(data) < 10_000]
    rounds = [[subject.give(data) for data in inputs][-1] for _ in range(3)]
    assert rounds[-1].files == rounds[0].files
    assert rounds[-1].rss_kib - rounds[0].rss_kib < 32 * 1024


def test_a_recording_refused_by_its_header_is_closed_at_once() -> None:
    class Watched(io.BytesIO):
        """One that can be watched."""

    file = Watched(mp4(samples=200_000, sample_size=1))
    gone = weakref.ref(file)
    with open_audio(file, max_seconds=1.0) as source:
        assert source.promised is not None
    del file, source
    assert gone() is None


def test_as_many_tracks_as_are_allowed_are_read() -> None:
    with open_audio(io.BytesIO(matroska(b"A_PCM/INT/LIT", b"", [bytes(2_000)], tracks=MAX_STREAMS))) as source:
        assert source.channels == 1


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
def test_what_encoders_of_ogg_write_is_plain(rate: int, channels: int) -> None:
    assert is_plain(io.BytesIO(by_libsndfile(noise(5_000, channels), rate, "OGG", "VORBIS")))


def test_opus_is_plain_and_a_damaged_page_is_not() -> None:
    data = by_ffmpeg(noise(5_000), 48_000, "ogg", "libopus")
    assert is_plain(io.BytesIO(data))
    assert not is_plain(io.BytesIO(data[:30] + b"x" + data[31:]))


def test_an_ogg_cut_within_its_headers_is_not_plain() -> None:
    data = vorbis(vorbis_setup(3, 8))
    assert is_plain(io.BytesIO(data))
    headers = data.rindex(b"OggS")
    assert [cut for cut in range(headers) if is_plain(io.BytesIO(data[:cut]))] == []


def test_a_picture_is_never_unpacked_and_does_no_harm() -> None:
    data = by_ffmpeg(noise(44_100), 44_100, "flac", "flac")
    cover = png(10)
    block = struct.pack(">II", 3, 9) + b"image/png" + bytes(20) + struct.pack(">I", len(cover)) + cover
    with_cover = data[:42] + struct.pack(">I", 6 << 24 | len(block)) + block + data[42:]
    with open_audio(io.BytesIO(with_cover)) as source:
        assert not source.facts.video
        assert sum(len(part) for part in source.blocks()) == 44_100


def test_a_wav_of_a_rate_that_divides_nothing_is_converted(subject: Subject) -> None:
    outcome = subject.give(wav(rate=767_857, data=bytes(2 * 767_857)))
    assert (outcome.code, outcome.samples) == ("", 44_100)
