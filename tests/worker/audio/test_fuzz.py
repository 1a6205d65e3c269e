import io
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.fuzz.crafted import vorbis, vorbis_setup
from bench.fuzz.decoders import fuzz_decoders
from bench.fuzz.mutate import mend_ogg, mutated
from bench.fuzz.subject import Subject
from bench.fuzz.tally import Tally
from tests.worker.audio.made import by_ffmpeg, by_libsndfile, noise
from worker.audio.decode import open_audio
from worker.audio.errors import AudioError
from worker.audio.oggheaders import is_plain

SOUND = noise(6_000)
RECORDINGS = [
    by_libsndfile(SOUND, 44_100, "WAV", "PCM_16"),
    by_libsndfile(SOUND, 44_100, "WAV", "IMA_ADPCM"),
    by_libsndfile(SOUND, 44_100, "RF64", "PCM_24"),
    by_libsndfile(SOUND, 44_100, "W64", "PCM_16"),
    by_libsndfile(SOUND, 44_100, "AIFF", "PCM_24"),
    by_libsndfile(SOUND, 44_100, "AU", "PCM_16"),
    by_libsndfile(SOUND, 44_100, "CAF", "PCM_16"),
    by_libsndfile(SOUND, 44_100, "OGG", "VORBIS"),
    by_libsndfile(SOUND, 44_100, "FLAC", "PCM_16"),
    by_libsndfile(SOUND, 44_100, "MP3", "MPEG_LAYER_III"),
    by_ffmpeg(SOUND, 44_100, "ipod", "aac"),
    by_ffmpeg(SOUND, 44_100, "adts", "aac"),
    by_ffmpeg(SOUND, 44_100, "matroska", "aac"),
    by_ffmpeg(SOUND, 48_000, "webm", "libopus"),
    by_ffmpeg(SOUND, 44_100, "mpegts", "aac"),
    by_ffmpeg(SOUND, 44_100, "ipod", "alac"),
    by_ffmpeg(SOUND, 44_100, "avi", "libmp3lame", picture="mpeg4"),
]
recordings = st.sampled_from(RECORDINGS)


def decodes_or_says_why(data: bytes) -> None:
    """Blocks of finite samples of one shape, or an `AudioError` in words; anything else fails the test."""
    try:
        with open_audio(io.BytesIO(data), name="x", max_seconds=3_600) as source:
            for block in source.blocks():
                assert block.dtype == np.float32
                assert block.shape[1] == source.channels
                assert np.isfinite(block).all()
    except AudioError as error:
        said = error
    else:
        return
    assert said.message
    assert said.code.startswith("audio_")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=4_000))
def test_random_bytes_never_break_the_decoder(data: bytes) -> None:
    decodes_or_says_why(data)


@settings(max_examples=150, deadline=None)
@given(recordings, st.integers(4, 64), st.binary(max_size=2_000))
def test_a_true_beginning_with_garbage_behind_never_breaks_the_decoder(start: bytes, keep: int, rest: bytes) -> None:
    decodes_or_says_why(start[:keep] + rest)


@settings(max_examples=300, deadline=None)
@given(recordings, st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_headers_never_break_the_decoder(data: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for at, value in changes:
        damaged[at % len(damaged)] = value
    decodes_or_says_why(bytes(damaged))


@settings(max_examples=150, deadline=None)
@given(recordings, st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=30))
def test_damaged_data_never_breaks_the_decoder(data: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for at, value in changes:
        damaged[at % len(damaged)] = value
    decodes_or_says_why(bytes(damaged))


@settings(max_examples=150, deadline=None)
@given(recordings, st.floats(0, 1), st.floats(0, 1))
def test_cut_and_spliced_files_never_break_the_decoder(data: bytes, end: float, start: float) -> None:
    decodes_or_says_why(data[: int(end * len(data))] + data[int(start * len(data)) :])


@pytest.mark.parametrize("data", RECORDINGS)
def test_the_recordings_of_these_tests_are_sound(data: bytes) -> None:
    with open_audio(io.BytesIO(data)) as source:
        assert sum(len(block) for block in source.blocks()) >= 6_000


def test_damaged_files_of_every_container_never_break_the_decoders(tmp_path: Path) -> None:
    tally = fuzz_decoders(200, 20, tmp_path, most=1_500, corpus=())
    assert tally.findings == []
    assert tally.inputs == 1_500
    assert {"decoded", "audio_unreadable", "mel_unreadable"} <= tally.endings.keys()


def test_a_decoder_that_dies_is_a_finding_and_is_replaced(tmp_path: Path) -> None:
    with Subject([sys.executable, "-c", "import os, sys; sys.stdin.buffer.read(5); os.abort()"]) as subject:
        assert "the process ended with -6" in subject.give(b"data").fault
        assert "the process ended with -6" in subject.give(b"data").fault
        assert subject.started == 2


def test_a_decoder_that_does_not_answer_is_a_finding() -> None:
    with Subject([sys.executable, "-c", "import time; time.sleep(600)"], patience=0.1) as subject:
        assert subject.give(b"data").fault.startswith("no answer within")


def test_what_grows_with_every_input_is_a_leak(tmp_path: Path) -> None:
    steady, growing, opening = Tally("a", tmp_path), Tally("b", tmp_path), Tally("c", tmp_path)
    for number in range(1_000):
        steady.level(200_000 if number > 100 else 90_000, 5)
        growing.level(90_000 + 150 * number, 5)
        opening.level(90_000, 5 + number // 50)
    for tally in (steady, growing, opening):
        tally.close()
    assert steady.findings == []
    assert growing.findings == ["leak: 87 MiB and 0 open files more at the end"]
    assert opening.findings == ["leak: 0 MiB and 12 open files more at the end"]


def test_the_same_seed_damages_in_the_same_way_and_ogg_keeps_right_checksums() -> None:
    seeds = [vorbis(vorbis_setup(2, 8)), *RECORDINGS]
    one, other = ([mutated(random.Random(number), seeds) for number in range(200)] for _ in range(2))
    assert one == other
    page = bytearray(seeds[0])
    page[40] ^= 1
    assert not is_plain(io.BytesIO(page))
    mend_ogg(page)
    assert is_plain(io.BytesIO(page))
