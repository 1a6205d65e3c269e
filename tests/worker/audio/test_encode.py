import io
import time
from typing import Any

import numpy as np
import pytest
import soundfile

from shared.formats import OutputNotPossible, OutputPlan
from tests.worker.audio.made import noise, read, tone
from worker.audio.encode import container, open_encoder, quantise
from worker.audio.errors import AudioNotFinite
from worker.audio.source import Block

PLANS = [
    OutputPlan("wav", 44_100, 16, 2),
    OutputPlan("wav", 8_000, 24, 1),
    OutputPlan("wav", 768_000, 32, 8),
    OutputPlan("flac", 44_100, 16, 8),
    OutputPlan("flac", 655_350, 24, 1),
    OutputPlan("aiff", 44_100, 16, 2),
    OutputPlan("aiff", 96_000, 24, 1),
    OutputPlan("ogg", 44_100, None, 2),
    OutputPlan("ogg", 200_000, None, 8),
    OutputPlan("mp3", 44_100, None, 2),
    OutputPlan("mp3", 8_000, None, 1),
]
STEP = {16: 2**-16, 24: 2**-24, 32: 0.0}


def encode(samples: Block, plan: OutputPlan, *, size: int = 10_000) -> bytes:
    file = io.BytesIO()
    with open_encoder(file, plan=plan, frames=len(samples)) as encoder:
        for start in range(0, len(samples), size):
            encoder.write(samples[start : start + size])
        assert encoder.written == len(samples)
    return file.getvalue()


@pytest.mark.parametrize("frames", [1, 2, 100, 30_001])
@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_every_format_holds_every_length_to_the_sample(plan: OutputPlan, frames: int) -> None:
    samples = tone(frames, plan.sample_rate, plan.channels)
    decoded = read(encode(samples, plan))
    assert decoded.shape == samples.shape
    if plan.bit_depth is not None:
        assert np.abs(decoded - samples).max() <= STEP[plan.bit_depth]
    elif frames > 30_000:
        middle = slice(5_000, -5_000)
        assert np.corrcoef(decoded[middle, 0], samples[middle, 0])[0, 1] > 0.99


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_the_bytes_depend_neither_on_the_blocks_nor_on_the_clock(plan: OutputPlan) -> None:
    samples = noise(20_000, plan.channels)
    first = encode(samples, plan)
    if plan.format == "ogg" or plan.bit_depth == 32:
        time.sleep(1.01)  # libsndfile notes seconds
    assert encode(samples, plan, size=777) == first


@pytest.mark.parametrize(("depth", "bits"), [(16, 16), (24, 24)])
def test_samples_are_rounded_to_the_nearest_step(depth: int, bits: int) -> None:
    steps = np.array([[0.0], [0.4], [0.6], [-0.4], [-0.6], [1.4], [-1.6], [1234.4]], np.float32)
    found = quantise((steps / 2 ** (bits - 1)).astype(np.float32), depth)
    plain = found >> 8 if depth == 24 else found
    assert plain[:, 0].tolist() == [0, 0, 1, 0, -1, 1, -2, 1234]


@pytest.mark.parametrize("plan", [plan for plan in PLANS if plan.bit_depth in (16, 24)], ids=str)
def test_full_scale_and_beyond_is_clipped_and_never_wraps(plan: OutputPlan) -> None:
    column = np.array([1.0, 1.5, 100.0, -1.0, -1.5, -100.0], np.float32)
    data = encode(np.repeat(column[:, None], plan.channels, axis=1), plan)
    decoded, _ = soundfile.read(io.BytesIO(data), dtype="float64", always_2d=True)
    largest = 1 - 2.0 ** (1 - (plan.bit_depth or 0))
    assert (decoded == np.array([[largest]] * 3 + [[-1.0]] * 3)).all()


@pytest.mark.parametrize("plan", [plan for plan in PLANS if plan.bit_depth is None], ids=str)
def test_lossy_formats_take_what_is_beyond_full_scale(plan: OutputPlan) -> None:
    decoded = read(encode(4 * tone(20_000, plan.sample_rate, plan.channels), plan))
    assert len(decoded) == 20_000
    assert np.abs(decoded).max() < 1.5


def test_float_keeps_what_is_beyond_full_scale() -> None:
    samples = noise(1_000, level=3.0)
    assert np.array_equal(read(encode(samples, OutputPlan("wav", 44_100, 32, 1))), samples)


@pytest.mark.parametrize(
    ("frames", "name"),
    [(0, "WAV"), (6 * 3_600 * 44_100, "WAV"), (2**30 - 2_000, "WAV"), (2**30, "RF64"), (2**40, "RF64")],
)
def test_a_wav_that_passes_4_gb_is_an_rf64(frames: int, name: str) -> None:
    assert container(OutputPlan("wav", 44_100, 16, 2), frames) == name


def test_an_rf64_is_written_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.audio.encode.LARGEST_CHUNK", 100_000)
    samples = noise(60_000)
    data = encode(samples, OutputPlan("wav", 44_100, 24, 1))
    assert data[:4] == b"RF64"
    assert np.abs(read(data) - samples).max() <= STEP[24]


@pytest.mark.parametrize(
    ("plan", "frames"),
    [
        (OutputPlan("aiff", 44_100, 24, 8), 2**28),
        (OutputPlan("ogg", 384_000, None, 1), 10),
        (OutputPlan("mp3", 96_000, None, 1), 10),
        (OutputPlan("mp3", 44_100, None, 3), 10),
        (OutputPlan("flac", 44_100, 32, 1), 10),
    ],
)
def test_what_a_format_cannot_hold_is_refused_before_a_library_sees_it(plan: OutputPlan, frames: int) -> None:
    with pytest.raises(OutputNotPossible), open_encoder(io.BytesIO(), plan=plan, frames=frames):
        pass


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_never_written(value: float) -> None:
    samples = noise(100)
    samples[50] = value
    with pytest.raises(AudioNotFinite):
        encode(samples, OutputPlan("wav", 44_100, 16, 1))


class Full(io.BytesIO):
    """A disk that is full after some bytes."""

    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > 20_000:
            raise OSError("no space left on device")
        return super().write(data)


@pytest.mark.parametrize("name", ["wav", "flac", "ogg"])
def test_a_full_disk_is_not_lost_in_the_library(name: str) -> None:
    plan = OutputPlan(name, 44_100, None if name == "ogg" else 16, 1)
    with pytest.raises(OSError, match="no space"), open_encoder(Full(), plan=plan, frames=200_000) as encoder:
        encoder.write(noise(200_000))


def test_an_ogg_keeps_sound_checksums_after_its_serial_number_was_set() -> None:
    data = encode(noise(100_000), OutputPlan("ogg", 44_100, None, 1))
    starts, at = [], 0
    while at < len(data):
        length = 27 + data[at + 26] + sum(data[at + 27 : at + 27 + data[at + 26]])
        page = bytearray(data[at : at + length])
        told = int.from_bytes(page[22:26], "little")
        page[22:26] = bytes(4)
        assert told == crc(page)
        starts.append(bytes(page[14:18]))
        at += length
    assert len(starts) > 3
    assert len(set(starts)) == 1


def crc(data: bytes | bytearray) -> int:
    """The checksum of RFC 3533, bit by bit."""
    value = 0
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x104C11DB7 if value >> 31 else 0)
    return value
