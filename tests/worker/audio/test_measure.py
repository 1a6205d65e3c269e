import numpy as np
import pytest

from tests.worker.audio.made import noise, tone
from worker.audio.errors import AudioNotFinite
from worker.audio.measure import Analysis, Measured
from worker.audio.source import Block

HANN_POWER = 0.375 * 2048
"""Sum of the squared window: a bin of white noise with RMS 1 has this power."""


def measure(samples: Block, size: int = 65_536) -> Measured:
    analysis = Analysis(samples.shape[1])
    for start in range(0, len(samples), size):
        analysis.add(samples[start : start + size])
    return analysis.finish()


def bursts(frames: int) -> Block:
    """A loud sound that is there for half of the time, as speech is."""
    on = (np.arange(frames) // 11_025 % 2 == 1)[:, None]
    return (noise(frames, level=0.3, seed=7) * on).astype(np.float32)


def decibels(found: float, expected: float) -> float:
    return float(20 * np.log10(found / expected))


def test_length_and_peak_are_those_of_all_channels() -> None:
    samples = noise(10_001, 2)
    samples[77, 1] = -0.9
    found = measure(samples)
    assert (found.frames, found.peak) == (10_001, pytest.approx(0.9))
    assert found.noise_profile.shape == (2, 1025)
    assert found.noise_profile.dtype == np.float32


@pytest.mark.parametrize("level", [1e-4, 0.01, 0.3])
def test_the_profile_of_white_noise_is_its_mean_magnitude(level: float) -> None:
    profile = measure(noise(441_000, level=level)).noise_profile[0, 2:-2]
    expected = level * np.sqrt(HANN_POWER) * np.sqrt(np.pi / 4)
    assert abs(decibels(float(profile.mean()), expected)) < 0.7
    assert np.abs(20 * np.log10(profile / expected)).max() < 4


def test_the_profile_follows_the_colour_of_the_noise() -> None:
    white = noise(441_000)
    coloured = np.cumsum(white, axis=0) - np.cumsum(np.roll(white, 20, axis=0), axis=0)
    profile = measure(coloured.astype(np.float32) / 20).noise_profile[0]
    assert decibels(float(profile[20:40].mean()), float(profile[900:1000].mean())) > 20


def test_sounds_that_come_and_go_are_not_taken_for_noise() -> None:
    frames = 441_000
    quiet = measure(noise(frames, level=0.003)).noise_profile[0, 2:-2]
    with_bursts = measure(noise(frames, level=0.003) + bursts(frames)).noise_profile[0, 2:-2]
    assert decibels(float(with_bursts.mean()), float(quiet.mean())) < 5


def test_a_steady_tone_is_measured_as_it_is() -> None:
    wave = np.sin(2 * np.pi * 100 / 2048 * np.arange(100_000))[:, None].astype(np.float32)
    assert abs(decibels(float(measure(wave).noise_profile[0, 100]), 512)) < 1


def test_digital_silence_says_nothing_about_the_noise() -> None:
    samples = noise(220_500, level=0.01)
    gated = np.concatenate([np.zeros((441_000, 1), np.float32), samples])
    with_gate, without = measure(gated).noise_profile, measure(samples).noise_profile
    assert abs(decibels(float(with_gate.mean()), float(without.mean()))) < 0.3
    assert (measure(np.zeros((100_000, 2), np.float32)).noise_profile == 0).all()


def test_channels_have_profiles_of_their_own() -> None:
    samples = np.concatenate([noise(200_000, level=0.1), noise(200_000, level=0.001, seed=1)], axis=1)
    left, right = measure(samples).noise_profile
    assert decibels(float(left.mean()), float(right.mean())) == pytest.approx(40, abs=0.5)


@pytest.mark.parametrize("frames", [0, 1, 1_024, 2_048, 8_000])
def test_a_recording_too_short_to_know_its_noise_has_no_profile(frames: int) -> None:
    found = measure(noise(frames))
    assert found.frames == frames
    assert (found.noise_profile == 0).all()


@pytest.mark.parametrize("size", [1_000, 2_049, 44_100])
def test_the_sizes_of_the_blocks_change_nothing(size: int) -> None:
    samples = noise(50_000, 2)
    assert np.array_equal(measure(samples, size).noise_profile, measure(samples).noise_profile)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(value: float) -> None:
    samples = tone(1_000, 44_100)
    samples[3] = value
    with pytest.raises(AudioNotFinite):
        measure(samples)


def test_memory_does_not_grow_with_length() -> None:
    analysis = Analysis(1)
    block = noise(65_536)
    held = []
    for _ in range(6):
        analysis.add(block)
        held.append(sum(value.nbytes for value in vars(analysis).values() if isinstance(value, np.ndarray)))
    assert max(held) <= held[0] + 4 * 2048
