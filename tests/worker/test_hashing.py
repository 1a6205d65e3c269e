import hashlib
import io
import random

import pytest

from tests.worker.audio.made import by_ffmpeg, by_libsndfile, tone
from worker.audio.decode import open_audio
from worker.receipts.hashing import HashedFile, PassingHash

DATA = random.Random(1).randbytes(100_000)
SHA = hashlib.sha256(DATA).hexdigest()


def nothing_left(start, stop):
    raise AssertionError(f"bytes {start} to {stop} were not seen")


def test_bytes_that_come_in_order_are_read_once():
    passing = PassingHash()
    for start in range(0, len(DATA), 7_000):
        passing.saw(start, DATA[start : start + 7_000])
        passing.saw(max(0, start - 500), DATA[max(0, start - 500) : start])  # a look back
        passing.saw(90_000, DATA[90_000:])  # and ahead
    assert passing.finish(nothing_left, len(DATA)) == SHA


@pytest.mark.parametrize("seed", range(5))
def test_any_order_gives_the_hash_of_the_whole(seed):
    dice = random.Random(seed)
    file = HashedFile(io.BytesIO(DATA))
    for _ in range(30):
        file.seek(dice.randrange(len(DATA)))
        size = dice.randrange(20_000)
        start = file.tell()
        assert file.read(size) == DATA[start : start + size]
    assert file.sha256() == (SHA, len(DATA))


def test_a_file_that_nobody_read_is_hashed_whole():
    assert HashedFile(io.BytesIO(DATA)).sha256() == (SHA, len(DATA))
    assert HashedFile(io.BytesIO(b"")).sha256() == (hashlib.sha256(b"").hexdigest(), 0)


class Counting(io.BytesIO):
    taken = 0

    def read(self, size=-1, /):
        data = super().read(size)
        self.taken += len(data)
        return data


@pytest.mark.parametrize(
    ("encode", "form", "codec"),
    [
        (by_libsndfile, "WAV", "PCM_24"),
        (by_libsndfile, "FLAC", "PCM_16"),
        (by_libsndfile, "OGG", "VORBIS"),
        (by_libsndfile, "MP3", "MPEG_LAYER_III"),
        (by_ffmpeg, "mp4", "aac"),
    ],
)
def test_a_decoder_reads_a_recording_once_for_both(encode, form, codec):
    data = encode(tone(400_000, 44_100), 44_100, form, codec)
    plain, hashed = Counting(data), Counting(data)
    for file in (plain, wrapped := HashedFile(hashed)):
        with open_audio(file) as source:
            assert sum(len(block) for block in source.blocks()) == pytest.approx(400_000, abs=2_000)
    assert wrapped.sha256() == (hashlib.sha256(data).hexdigest(), len(data))
    assert hashed.taken - plain.taken < 0.2 * len(data) + 70_000
