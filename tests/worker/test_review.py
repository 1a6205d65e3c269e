"""The output check on crafted results: what it marks, and what it leaves alone."""

import numpy as np
import pytest
import soundfile

from bench.signals import speech_like
from shared.receipt import Levels, Sound
from tests.worker.audio.made import noise, tone
from worker.audio.meter import Meter
from worker.receipts.review import check

RATE = 44_100


def speech(seconds=6.0, channels=1, level=1.0):
    voice = speech_like(int(seconds * RATE), 5).reshape(-1, 1) * level
    return np.repeat(voice, channels, axis=1).astype(np.float32)


def sound(samples, rate=RATE, **more) -> Sound:
    meter = Meter(rate, samples.shape[1])
    meter.add(samples)
    shape = {"channels": samples.shape[1], "samples": len(samples), "seconds": len(samples) / rate}
    return Sound(filename=None, sha256="", bytes=0, format="wav", **shape, levels=meter.finish(), **more)


def mel(peak, frames=100, **more) -> Sound:
    return Sound(
        filename=None, sha256="", bytes=0, format="npy", channels=1, seconds=1, frames=frames, mel_peak=peak, **more
    )


def codes(source, result, expected=None):
    found = check(source, result, expected=expected or result.samples or result.frames)
    assert found.needs_review == bool(found.reasons)
    assert all(reason.detail.endswith(".") for reason in found.reasons)
    return [reason.code for reason in found.reasons]


TALK = sound(speech())
NOISY = sound((speech() + noise(6 * RATE, level=0.05)).astype(np.float32))


@pytest.mark.parametrize(
    ("source", "result"),
    [
        (TALK, TALK),
        (NOISY, TALK),
        (sound(noise(6 * RATE, level=0.02) + speech(level=0.3)), sound(speech(level=0.3))),
        (TALK, sound(speech(level=3.0))),
        (TALK, sound(speech(level=0.1))),
        (sound(np.clip(speech(level=20), -1, 1)), TALK),
        (sound(np.zeros((RATE, 1), np.float32)), sound(np.zeros((RATE, 1), np.float32))),
        (sound(np.zeros((RATE, 1), np.float32)), sound(noise(RATE, level=1e-3))),
        (sound(noise(RATE, level=0.3)), sound(noise(RATE, level=0.3))),
        (sound(speech(0.2)), sound(speech(0.2))),
        (sound(tone(3_000, 2_000), 2_000), sound(tone(66_150, RATE))),
        (sound(speech(channels=2)), sound(speech(channels=1))),
        (mel(100.0), TALK),
        (TALK, mel(100.0)),
        (sound(noise(RATE, level=1e-3)), mel(0.005)),
        (mel(0.0), sound(np.zeros((RATE, 1), np.float32))),
    ],
)
def test_what_can_be_right_is_not_marked(source, result):
    assert codes(source, result) == []


@pytest.mark.parametrize("dead", [np.zeros((6 * RATE, 1)), noise(6 * RATE, level=1e-4)])
def test_silence_is_marked(dead):
    assert codes(TALK, sound(dead.astype(np.float32)))[0] == "silence"
    assert codes(mel(100.0), sound(dead.astype(np.float32))) == ["silence"]


def test_one_silent_channel_is_marked_and_named():
    half = speech(channels=2)
    half[:, 1] = 0
    found = check(sound(speech(channels=2)), sound(half), expected=len(half))
    assert [reason.code for reason in found.reasons] == ["silence"]
    assert "channel 2" in found.reasons[0].detail
    assert codes(sound(half), sound(half)) == [], "it was silent before"


def test_a_silent_mel_is_marked():
    assert codes(TALK, mel(1e-5)) == ["silence"]


def test_noise_where_the_source_has_pauses_is_marked():
    hiss = speech() + noise(6 * RATE, level=0.05)
    assert codes(TALK, sound(hiss.astype(np.float32))) == ["noise"]


def test_white_noise_at_full_scale_is_marked_whatever_the_source():
    white = np.random.default_rng(0).uniform(-0.99, 0.99, (6 * RATE, 1)).astype(np.float32)
    for source in (TALK, NOISY, sound(tone(6 * RATE, RATE)), mel(100.0)):
        assert codes(source, sound(white))[0] == "noise"


def test_sound_out_of_silence_is_marked():
    assert codes(sound(np.zeros((6 * RATE, 1), np.float32)), TALK) == ["energy"]


@pytest.mark.parametrize("level", [0.02, 8.0])
def test_energy_that_cannot_be_right_is_marked(level):
    quiet = speech(level=0.5)
    assert "energy" in codes(sound(quiet), sound(quiet * np.float32(level)))


def test_energy_of_what_is_too_short_for_loudness_is_marked_too():
    assert codes(sound(speech(0.3, level=0.05)), sound(speech(0.3))) == ["energy"]


@pytest.mark.parametrize("difference", [-1, 1, 44_100])
def test_a_length_that_is_not_the_sources_is_marked(difference):
    assert codes(TALK, TALK, expected=TALK.samples + difference) == ["length"]
    assert codes(TALK, mel(100.0), expected=100 + difference) == ["length"]


def test_clipping_is_marked_unless_the_source_is_clipped_as_much():
    loud = sound(np.clip(speech(level=8), -1, 1))
    assert "clipping" in codes(TALK, loud)
    assert codes(loud, loud) == []


def test_values_that_are_not_finite_are_marked():
    broken = speech()
    broken[100] = np.nan
    assert codes(TALK, sound(broken)) == ["not_finite"]
    assert codes(TALK, mel(100.0, not_finite=3)) == ["not_finite"]


def test_a_real_recording_is_not_marked_beside_itself():
    samples, rate = soundfile.read("samples/degraded-speech.wav", dtype="float32", always_2d=True)
    assert codes(sound(samples, rate), sound(samples, rate)) == []
    assert isinstance(sound(samples, rate).levels, Levels)
