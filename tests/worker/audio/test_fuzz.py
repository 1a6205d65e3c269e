import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worker.audio.made import by_ffmpeg, by_libsndfile, noise
from worker.audio.decode import open_audio
from worker.audio.errors import AudioError

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
