from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.make_sample import RATE, degrade
from cli.spectrogram import Panel, draw
from tests.cli.programs import ROOT

SAMPLE = ROOT / "samples" / "degraded-speech.wav"


def test_the_sample_is_small_degraded_speech() -> None:
    samples, rate = soundfile.read(SAMPLE)
    assert (rate, samples.ndim) == (44_100, 1)
    assert 4.0 < samples.size / rate < 8.0
    assert SAMPLE.stat().st_size < 600_000
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequency = np.fft.rfftfreq(samples.size, 1 / rate)
    assert power[frequency < 4000].sum() > 9 * power[frequency > 4000].sum()
    assert power[frequency > 18_500].sum() < 1e-6 * power.sum()


def test_degrading_is_repeatable_and_noisier_than_the_speech() -> None:
    speech = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    first, again, other = degrade(speech), degrade(speech), degrade(speech, seed=3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.abs(first).max() == pytest.approx(0.7)


def test_the_picture_shows_a_tone_where_it_lies(tmp_path: Path) -> None:
    from matplotlib import image

    tone = 0.5 * np.sin(2 * np.pi * 11_025 * np.arange(RATE) / RATE)
    soundfile.write(tmp_path / "tone.wav", tone, RATE)
    draw([Panel(tmp_path / "tone.wav", "before"), Panel(tmp_path / "tone.wav", "after")], tmp_path / "new" / "out.png")
    picture = image.imread(tmp_path / "new" / "out.png")
    assert picture.shape[0] > 500
    assert picture.shape[1] > 800
    bright = picture[:, 300, :3].sum(axis=1) > 2.5  # magma's end, in a column inside both panels
    dark = picture[:, 300, :3].sum(axis=1) < 0.3
    assert np.count_nonzero(np.diff(bright.astype(int)) == 1) >= 2
    assert np.count_nonzero(dark) > 300
