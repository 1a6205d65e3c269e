import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worker.audio.made import noise, tone
from worker.audio.resample import resample_blocks, resampled_length
from worker.audio.source import Block

RATES = (1_000, 8_000, 11_025, 37_123, 44_099, 48_000, 192_000, 768_000)


def resample(samples: Block, from_rate: int, to_rate: int, *, size: int = 65_536, total: int | None = None) -> Block:
    blocks = (samples[start : start + size] for start in range(0, len(samples), size))
    made = resample_blocks(blocks, from_rate=from_rate, to_rate=to_rate, channels=samples.shape[1], total_out=total)
    return np.concatenate([np.zeros((0, samples.shape[1]), np.float32), *made])


def snr(found: Block, expected: Block) -> float:
    return float(10 * np.log10(np.square(expected).mean() / np.square(found - expected).mean()))


@given(st.integers(0, 10**10), st.sampled_from(RATES), st.sampled_from(RATES))
def test_the_length_is_rounded_half_up_in_whole_numbers(samples: int, from_rate: int, to_rate: int) -> None:
    length = resampled_length(samples, from_rate, to_rate)
    if 2 * samples * to_rate >= from_rate or samples == 0:
        assert -from_rate < 2 * (length * from_rate - samples * to_rate) <= from_rate
    else:
        assert length == 1  # never nothing of something


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30_000), st.sampled_from(RATES), st.booleans(), st.integers(100, 70_000))
def test_every_rate_gives_the_exact_length_there_and_back(frames: int, rate: int, up: bool, size: int) -> None:
    here, there = (44_100, rate) if up else (rate, 44_100)
    samples = noise(frames, 2)
    made = resample(samples, here, there, size=size)
    assert made.shape == (resampled_length(frames, here, there), 2)
    assert resample(made, there, here, size=size, total=frames).shape == samples.shape


def test_a_tone_comes_out_as_the_same_tone() -> None:
    made = resample(tone(48_000, 48_000, 2), 48_000, 44_100)
    assert snr(made[2_000:-2_000], tone(44_100, 44_100, 2)[2_000:-2_000]) > 110


def test_there_and_back_gives_the_same_samples() -> None:
    samples = tone(44_100, 44_100)
    back = resample(resample(samples, 44_100, 96_000), 96_000, 44_100, total=44_100)
    assert snr(back[1_000:-1_000], samples[1_000:-1_000]) > 110


@pytest.mark.parametrize("size", [1, 977, 20_000])
def test_the_sizes_of_the_blocks_change_no_sample(size: int) -> None:
    samples = noise(5_000, 2)
    whole = resample(samples, 48_000, 44_100)
    assert np.array_equal(resample(samples, 48_000, 44_100, size=size), whole)


def test_equal_rates_pass_blocks_through_untouched() -> None:
    blocks = [noise(100, 2), noise(3, 2)]
    made = list(resample_blocks(blocks, from_rate=8_000, to_rate=8_000, channels=2))
    assert all(one is other for one, other in zip(made, blocks, strict=True))


@pytest.mark.parametrize("total", [1, 99, 100, 101, 250])
def test_a_given_total_cuts_or_holds_the_last_sample(total: int) -> None:
    samples = noise(100)
    made = resample(samples, 8_000, 8_000, total=total)
    assert made.shape == (total, 1)
    assert np.array_equal(made[:100], samples[:total])
    assert (made[100:] == samples[-1]).all()


def test_nothing_becomes_nothing_or_silence() -> None:
    nothing = np.zeros((0, 1), np.float32)
    assert len(resample(nothing, 8_000, 44_100)) == 0
    assert np.array_equal(resample(nothing, 8_000, 44_100, total=3), np.zeros((3, 1), np.float32))
