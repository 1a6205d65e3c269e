"""Tags that unpack to far more than they take up are found wherever FFmpeg would look for them."""

import io

import numpy as np
import pytest

from bench.fuzz.crafted import dsf, mp3, packed_tag
from tests.worker.audio.made import by_ffmpeg, noise, read
from worker.audio.errors import AudioUnreadable
from worker.audio.packedtags import check_tags

BOMB = packed_tag(10**7, 50)
SMALL = packed_tag(2_000, 5)


@pytest.mark.parametrize("before", [0, 1, 4 * 1024**2 - 5, 4 * 1024**2 + 3])
def test_a_bomb_is_found_wherever_it_stands(before: int) -> None:
    with pytest.raises(AudioUnreadable):
        check_tags(io.BytesIO(bytes(before) + BOMB))


def test_sound_and_small_packed_tags_are_let_through() -> None:
    sound = np.random.default_rng(0).bytes(5_000_000)
    check_tags(io.BytesIO(sound + SMALL + sound))
    check_tags(io.BytesIO(b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + sound))
    check_tags(io.BytesIO(BOMB[10:]))  # no tag, and nobody unpacks it


def test_a_tag_between_the_frames_of_an_aac_file_is_looked_at() -> None:
    data = by_ffmpeg(noise(20_000), 44_100, "adts", "aac")
    at = 0
    for _ in range(5):  # three in a row tell what it is
        at += (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    assert len(read(data[:at] + SMALL + data[at:])) >= 20_000
    with pytest.raises(AudioUnreadable, match="tags"):
        read(data[:at] + BOMB + data[at:])


def test_tags_before_a_recording_are_skipped_and_at_its_end_they_do_no_harm() -> None:
    data = mp3(10)
    np.testing.assert_array_equal(read(SMALL * 3 + data), read(data))
    np.testing.assert_array_equal(read(dsf(SMALL)), read(dsf()))
