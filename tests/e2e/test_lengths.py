import random

import pytest

from tests.support.recordings import decoded, encoded, tone
from worker.audio.resample import resampled_length

RATES = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000)


def drawn():
    """40 recordings of any length, rate and channel count; half are asked back at the rate they came with."""
    rng = random.Random(20)
    for number in range(40):
        rate = rng.choice(RATES)
        samples = rng.choice([rng.randint(1, 2_000), rng.randint(1, 2 * rate)])
        yield number, samples, rate, rng.choice([1, 1, 2, 2, 3, 6, 8]), rng.random() < 0.5


def test_length_and_channels_of_40_recordings_are_kept(service):
    jobs = []
    for number, samples, rate, channels, own_rate in drawn():
        data = encoded(tone(samples, rate=rate, channels=channels, seed=number), rate=rate)
        jobs.append(service.submit(data, **({"output.sample_rate": "input"} if own_rate else {})))
    wrong = []
    for job, (_, samples, rate, channels, own_rate) in zip(jobs, drawn(), strict=True):
        done = service.wait(job)
        assert done["status"] == "succeeded", done["error"]
        audio, found = decoded(service.client.get(done["urls"]["result"]).content)
        out = rate if own_rate else max(rate, 44_100)
        expected = ((resampled_length(samples, rate, out), channels), out)
        if (audio.shape, found) != expected:
            wrong.append((samples, rate, channels, audio.shape, found, expected))
    assert not wrong


@pytest.mark.parametrize("seconds", [36.5, 45])
def test_a_recording_of_several_windows_keeps_its_length(service, seconds):
    samples = int(seconds * 44_100) + 1
    _, result = service.restore(encoded(tone(samples)))
    assert decoded(result)[0].shape == (samples, 1)
