"""A window that does not fit into memory is computed in parts, and gives what it would have given."""

import numpy as np
import pytest

from shared.jobs import Status
from tests.support.standins import StandInRestorer, StandInVocoder
from tests.worker.test_steps import decoded, noise, wav


class Hungry:
    """Runs out of memory for windows of more than so many frames; counts those that fitted."""

    def __init__(self, most):
        self.most = most
        self.fitted = []

    def taste(self, frames):
        if frames > self.most:
            raise MemoryError
        self.fitted.append(frames)


class HungryRestorer(Hungry, StandInRestorer):
    def restore(self, padded, conditions):
        self.taste((padded.shape[1] - 2048) // 441 + 1)
        return super().restore(padded, conditions)


class HungryVocoder(Hungry, StandInVocoder):
    def vocode(self, mel, spans):
        self.taste(mel.shape[2])
        return super().vocode(mel, spans)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [40_000, 150_000, 400_123])
def test_windows_too_large_for_memory_give_the_same_samples_in_parts(bench, samples, channels):
    sizes = {"core_frames": 512, "context_frames": 64, "halo_frames": 80, "fade_frames": 0}
    data = wav(noise(samples, channels))
    plain = bench(**sizes)
    whole = plain.submit(data)
    plain.run()
    restorer, vocoder = HungryRestorer(320), HungryVocoder(320)
    poor = bench(restorer=restorer, vocoder=vocoder, **sizes)
    job = poor.submit(data)
    poor.run()
    assert np.array_equal(decoded(poor.result(job))[0], decoded(plain.result(whole))[0])
    assert max(restorer.fitted) <= 320
    assert len(vocoder.fitted) >= len(decoded(poor.result(job))[0]) // (512 * 441)


@pytest.mark.parametrize("options", [{}, {"mode": 2}])
def test_a_window_that_fits_in_no_part_fails_with_a_reason(bench, options):
    worker = bench(restorer=HungryRestorer(10))
    job = worker.submit(wav(noise(100_000)), **options)
    worker.run()
    job = worker.records.get(job)
    assert (job.status, job.error.code) == (Status.FAILED, "model_out_of_memory")


def test_mode_2_is_not_computed_in_parts(bench):
    """A window of it goes by its own statistics: parts would sound otherwise."""
    restorer = HungryRestorer(150)
    worker = bench(restorer=restorer)
    job = worker.submit(wav(noise(300_000)), mode=2)
    worker.run()
    assert worker.records.get(job).error.code == "model_out_of_memory"
