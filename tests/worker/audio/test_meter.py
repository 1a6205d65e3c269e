import numpy as np
import pytest

from shared.receipt import Levels
from tests.worker.audio.made import noise, tone
from worker.audio.meter import Meter
from worker.audio.source import Block

RATE = 44_100


def measure(samples: Block, rate: int = RATE, size: int = 20_000) -> Levels:
    meter = Meter(rate, samples.shape[1])
    for start in range(0, len(samples), size):
        meter.add(samples[start : start + size])
    assert meter.samples == len(samples)
    assert meter.peak == pytest.approx(np.abs(np.nan_to_num(samples, posinf=0, neginf=0)).max(initial=0.0))
    return meter.finish()


def test_the_noise_floor_is_the_level_of_pauses() -> None:
    talk = noise(10 * RATE, level=0.2, seed=1) * (np.arange(10 * RATE) // (RATE // 2) % 2)[:, None]
    found = measure((talk + noise(10 * RATE, level=0.001)).astype(np.float32))
    assert found.noise_floor_dbfs == pytest.approx(-60, abs=0.5)
    assert found.rms_dbfs == pytest.approx(20 * np.log10(0.2 / np.sqrt(2)), abs=0.2)


def test_the_floor_of_two_channels_is_that_of_their_mean_power() -> None:
    both = np.concatenate([noise(5 * RATE, level=0.1), np.zeros((5 * RATE, 1), np.float32)], axis=1)
    assert measure(both).noise_floor_dbfs == pytest.approx(-23.1, abs=0.3)


@pytest.mark.parametrize("frames", [0, 1, 100, 3 * RATE])
def test_silence_has_no_levels(frames: int) -> None:
    found = measure(np.zeros((frames, 2), np.float32))
    assert found == Levels(channel_peaks_dbfs=[None, None])


@pytest.mark.parametrize("frames", [1, 100, 2_205, 17_000])
def test_what_is_very_short_has_levels_but_no_loudness(frames: int) -> None:
    found = measure(np.full((frames, 1), 0.5, np.float32))
    assert found.loudness_lufs is None
    assert found.noise_floor_dbfs == pytest.approx(-6.02, abs=0.1)
    assert found.channel_peaks_dbfs == [-6.02]
    assert found.true_peak_dbtp >= -6.02


def test_every_channel_has_its_peak() -> None:
    found = measure(tone(RATE, RATE, 3))
    assert found.channel_peaks_dbfs == pytest.approx([-10.46, -12.4, -14.33], abs=0.01)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1_000])
def test_runs_at_full_scale_are_clipped_and_single_peaks_are_not(size: int) -> None:
    samples = np.zeros((1_000, 2), np.float32)
    samples[100:104, 0] = 1.0
    samples[200:203, 1] = -1.0
    samples[300:302, 0] = 1.0
    samples[400, 1] = 1.0
    samples[402:404, 1] = 1.0
    assert measure(samples, size=size).clipped_share == pytest.approx(7 / 2_000)


def test_a_clipped_sine_is_found_and_a_full_one_is_not() -> None:
    wave = tone(RATE, RATE) / 0.3
    assert measure(wave).clipped_share < 0.03
    assert measure(np.clip(2 * wave, -1, 1)).clipped_share > 0.5


def test_white_noise_is_flat_and_a_tone_is_not() -> None:
    assert measure(noise(60 * RATE)).flatness > 0.95
    assert measure(np.random.default_rng(0).uniform(-1, 1, (20 * RATE, 1)).astype(np.float32)).flatness > 0.9
    assert measure(tone(20 * RATE, RATE)).flatness < 0.01


def test_values_that_are_not_finite_are_counted_and_spoil_nothing() -> None:
    samples = noise(RATE)
    broken = samples.copy()
    broken[500:503, 0] = [np.nan, np.inf, -np.inf]
    found = measure(broken)
    assert found.not_finite == 3
    assert found.loudness_lufs == pytest.approx(measure(samples).loudness_lufs, abs=0.05)


@pytest.mark.parametrize("rate", [1_000, 8_000, 11_025, 96_000, 768_000])
def test_every_rate_that_is_taken_can_be_measured(rate: int) -> None:
    found = measure(noise(2 * rate), rate)
    assert found.rms_dbfs == pytest.approx(-20, abs=0.2)
    assert found.noise_floor_dbfs == pytest.approx(-20, abs=1.5)
    assert (found.loudness_lufs is None) == (rate == 1_000)


@pytest.mark.parametrize("size", [1_000, 2_205, 44_101])
def test_the_sizes_of_blocks_change_nothing(size: int) -> None:
    samples = noise(100_000, 2)
    assert measure(samples, size=size) == measure(samples, size=99)


def test_absurd_levels_are_measured_too() -> None:
    found = measure(noise(RATE, level=1e5))
    assert found.rms_dbfs == pytest.approx(100, abs=0.2)
    assert found.loudness_lufs == pytest.approx(103, abs=1)


def test_memory_does_not_grow_with_length() -> None:
    meter = Meter(RATE, 2)
    held = []
    for number in range(8):
        meter.add(noise(65_536, 2, seed=number))
        held.append(_bytes(meter))
    assert max(held) <= held[0] + 8 * 2_048


def _bytes(holder: object) -> int:
    values = list(vars(holder).values())
    inner = sum(_bytes(value) for value in values if type(value).__module__.startswith("worker.audio"))
    return inner + sum(value.nbytes for value in values if isinstance(value, np.ndarray))
