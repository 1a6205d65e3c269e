"""Loudness and true peak are held against pyloudnorm, against FFmpeg's ebur128, and against what is known."""

from fractions import Fraction

import av
import numpy as np
import pyloudnorm
import pytest

from bench.signals import speech_like
from tests.worker.audio.made import noise
from worker.audio.loudness import Loudness
from worker.audio.source import Block
from worker.audio.truepeak import FILTER, TAPS, TruePeak

RATE = 44_100


def loudness(samples: Block, rate: int = RATE, size: int = 10_000) -> float | None:
    meter = Loudness(rate, samples.shape[1])
    for start in range(0, len(samples), size):
        meter.add(np.ascontiguousarray(samples[start : start + size].T))
    return meter.integrated()


def true_peak(samples: Block, size: int = 10_000) -> float:
    meter = TruePeak(samples.shape[1])
    for start in range(0, len(samples), size):
        planes = np.ascontiguousarray(samples[start : start + size].T)
        meter.add(planes, np.abs(planes).max(axis=1))
    return meter.finish()


def sine(frequency: float, seconds: float, rate: int = RATE, amplitude: float = 1.0, phase: float = 0.0) -> Block:
    time = np.arange(int(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency * time + phase))[:, None].astype(np.float32)


def speech(seconds: int, channels: int = 1) -> Block:
    voice = speech_like(seconds * RATE, 3).reshape(-1, 1)
    quieter = [voice * 0.7**channel for channel in range(channels)]
    return np.ascontiguousarray(np.concatenate(quieter, axis=1), dtype=np.float32)


def by_ffmpeg(samples: Block, rate: int) -> dict[str, str]:
    """What the filter ebur128 says of it."""
    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate, format="flt", layout=layout, time_base=Fraction(1, rate))
    measure, sink = graph.add("ebur128", "metadata=1:peak=true"), graph.add("abuffersink")
    source.link_to(measure)
    measure.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
    frame.sample_rate, frame.pts = rate, 0
    source.push(frame)
    source.push(None)
    found: dict[str, str] = {}
    while True:
        try:
            found |= dict(sink.pull().metadata)
        except (av.BlockingIOError, av.EOFError, EOFError):
            return found


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_a_full_scale_sine_of_997_hz_has_minus_3_lufs(rate: int) -> None:
    found = loudness(sine(997, 3, rate), rate)
    assert found == pytest.approx(-3.01, abs=0.15 if rate < 16_000 else 0.05)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_speech_and_noise_measure_what_pyloudnorm_and_ffmpeg_measure(channels: int, rate: int) -> None:
    for samples in (speech(8, channels), noise(8 * rate, channels)):
        found = loudness(samples, rate)
        # By default pyloudnorm's filters are another reading of the standard, up to 0.13 LU away.
        for kind, tolerance in (("DeMan", 0.02), ("K-weighting", 0.15)):
            meter = pyloudnorm.Meter(rate, filter_class=kind)
            assert found == pytest.approx(meter.integrated_loudness(samples.astype(float)), abs=tolerance)
        assert found == pytest.approx(float(by_ffmpeg(samples, rate)["lavfi.r128.I"]), abs=0.03)


def test_quiet_passages_do_not_count() -> None:
    loud, quiet, silent = sine(997, 5, amplitude=0.1), sine(997, 20, amplitude=0.01), np.zeros((20 * RATE, 1))
    together = np.concatenate([quiet, loud, silent.astype(np.float32)])
    assert loudness(together) == pytest.approx(-23.01, abs=0.3)
    assert loudness(together) == pytest.approx(pyloudnorm.Meter(RATE).integrated_loudness(together), abs=0.05)


@pytest.mark.parametrize(
    "samples", [noise(0), noise(1), noise(int(0.39 * RATE)), np.zeros((RATE, 2), np.float32), noise(RATE, level=1e-5)]
)
def test_silence_and_what_is_shorter_than_a_block_have_no_loudness(samples: Block) -> None:
    assert loudness(samples) is None


def test_a_single_block_has_a_loudness() -> None:
    assert loudness(sine(997, 0.4)) == pytest.approx(-3.0, abs=0.2)


def test_a_rate_below_the_filters_has_no_loudness() -> None:
    assert loudness(noise(5_000), 1_000) is None


@pytest.mark.parametrize("size", [100, 4_409, 4_410, 4_411, 100_000])
def test_the_sizes_of_blocks_change_no_loudness(size: int) -> None:
    samples = speech(2, 2)
    assert loudness(samples, size=size) == pytest.approx(loudness(samples, size=7_001), abs=1e-9)


def test_a_peak_between_samples_is_found() -> None:
    """A quarter of the rate, sampled 45° beside its peaks: the samples are 3 dB below it."""
    wave = sine(RATE / 4, 0.2, amplitude=0.9, phase=np.pi / 4)[100:-100]
    assert float(np.abs(wave).max()) == pytest.approx(0.636, abs=0.001)
    assert true_peak(wave) == pytest.approx(0.9, rel=0.06)


@pytest.mark.parametrize("size", [1, 11, 12, 13, 255, 256, 257, 50_000])
def test_only_places_that_cannot_matter_are_left_out(size: int) -> None:
    samples = np.concatenate([noise(3_000, 2), speech(1, 2)[:9_000], noise(500, 2, level=0.2, seed=4)])
    padded = np.pad(samples, ((TAPS - 1, TAPS), (0, 0)))
    everywhere = np.lib.stride_tricks.sliding_window_view(padded, TAPS, axis=0) @ FILTER
    whole = max(float(np.abs(everywhere).max()), float(np.abs(samples).max()))
    assert true_peak(samples, size) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("channels", [1, 2])
def test_true_peaks_are_those_of_ffmpeg(channels: int) -> None:
    for samples in (speech(5, channels), noise(48_000, channels)):
        told = float(by_ffmpeg(samples, RATE)["lavfi.r128.true_peak"])
        assert abs(20 * np.log10(true_peak(samples) / told)) < 0.3  # which tells three digits, and has another filter


def test_a_click_at_the_end_rings_on() -> None:
    samples = np.zeros((1_000, 1), np.float32)
    samples[-2:] = [[0.5], [0.5]]
    assert true_peak(samples) > 0.55
