import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from bench.parity import snr_db
from bench.signals import speech_like
from worker.backends.numba.backend import NumbaBackend
from worker.models.constants import HOP
from worker.models.errors import PrecisionUnavailableError
from worker.models.frontend import centre_pad
from worker.models.hub import WeightsSource
from worker.models.interface import MelSpan
from worker.models.registry import load_restorer, load_vocoder

EQUAL_DB = 105.0


@pytest.fixture(scope="module")
def source(random_weights):
    return WeightsSource(folder=random_weights, repositories=(), allow_other=True)


@pytest.fixture(scope="module")
def restorers(source):
    """Ours and the reference."""
    ours = load_restorer("VoiceFixerRestorer", weights=source, backend=NumbaBackend())
    return ours, load_restorer("VoiceFixerRestorer", weights=source)


@pytest.fixture(scope="module")
def vocoders(source):
    """Ours and the reference."""
    ours = load_vocoder("VoiceFixerVocoder", weights=source, backend=NumbaBackend())
    return ours, load_vocoder("VoiceFixerVocoder", weights=source)


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.inference_mode():
        yield


def audio(samples, items=1, seed=0):
    return torch.stack([torch.from_numpy(speech_like(samples, seed + item)) for item in range(items)])


def mels(restorer, samples, items=1):
    return restorer.front_end(centre_pad(audio(samples, items)))


@pytest.mark.parametrize(("samples", "items"), [(1025, 1), (HOP * 63, 1), (HOP * 64 + 7, 2), (HOP * 150, 1)])
def test_each_network_of_the_restorer_equals_pytorch_at_any_length_and_batch(restorers, samples, items):
    ours, reference = restorers
    mel = mels(reference, samples, items)
    clean = reference.runner.denoise(mel)
    assert snr_db(clean, ours.runner.denoise(mel)) > EQUAL_DB
    assert snr_db(reference.runner.refine(mel, clean), ours.runner.refine(mel, clean)) > EQUAL_DB


@pytest.mark.parametrize(("samples", "items"), [(1, 1), (HOP, 1), (44_100, 2), (50_000, 1)])
def test_the_vocoder_equals_pytorch_at_any_length_and_batch(restorers, vocoders, samples, items):
    ours, reference = vocoders
    mel = mels(restorers[1], max(samples, 1025), items)[:, :, : samples // HOP + 1]
    assert snr_db(reference.forward(mel, samples), ours.forward(mel, samples)) > EQUAL_DB


@pytest.mark.parametrize(("first", "frames"), [(0, 120), (40, 120), (80, 121)])
def test_a_window_within_a_file_equals_that_of_pytorch(restorers, vocoders, first, frames):
    ours, reference = vocoders
    mel = mels(restorers[1], HOP * 200)[:, :, first : first + frames]
    span = MelSpan(first, 201, HOP * 200, start=HOP * (first + 20), stop=HOP * (first + 100) + 5)
    assert snr_db(reference.vocode(mel, [span]), ours.vocode(mel, [span])) > EQUAL_DB


def test_late_stages_in_several_tiles_give_the_samples_of_one(vocoders, restorers, monkeypatch):
    ours, _ = vocoders
    mel = mels(restorers[1], HOP * 90)
    whole = ours.forward(mel)
    monkeypatch.setattr("worker.backends.numba.vocoder.TILE", 7000)
    assert snr_db(whole, ours.forward(mel)) > 120


def test_the_chain_equals_pytorch(restorers, vocoders):
    signal = audio(60_000)[:, None]
    found, expected = (
        vocoder.forward(restorer.forward(signal), 60_000) for restorer, vocoder in zip(restorers, vocoders, strict=True)
    )
    assert snr_db(expected, found) > 100


def test_the_bytes_do_not_depend_on_the_number_of_threads(source, restorers, vocoders):
    threads = torch.get_num_threads()
    mel = mels(restorers[1], 30_000)
    try:
        torch.set_num_threads(3)
        restorer = load_restorer("VoiceFixerRestorer", weights=source, backend=NumbaBackend())
        vocoder = load_vocoder("VoiceFixerVocoder", weights=source, backend=NumbaBackend())
        again = restorer.runner.refine(mel, mel), vocoder.forward(mel)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(vocoders[0].forward(mel), again[1])
    assert torch.equal(restorers[0].runner.refine(mel, mel), again[0])


def test_windows_that_several_threads_compute_at_once_are_those_of_one(restorers, vocoders):
    mel = [mels(restorers[1], 20_000 + 3000 * number) for number in range(3)]

    def run(number):
        torch.set_num_threads(1)
        with torch.inference_mode():
            return [
                (restorers[0].runner.refine(mel[number], mel[number]), vocoders[0].forward(mel[number]))
                for _ in range(3)
            ]

    alone = [run(number)[0] for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        for found, expected in zip(pool.map(run, range(3)), alone, strict=True):
            for again in found:
                assert all(torch.equal(one, other) for one, other in zip(again, expected, strict=True))


def test_numbers_that_are_none_come_out_as_such(vocoders):
    condition = torch.zeros(1, 128, 40)
    condition[0, 3, 20] = torch.nan
    assert vocoders[0].runner(condition, (HOP * 18, HOP * 22)).isnan().any()


def test_a_cpu_with_shorter_vectors_gives_what_pytorch_gives(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "tests.worker.backends.narrow"],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(ran.stdout) > EQUAL_DB


def test_half_precision_is_refused_with_what_to_take():
    with pytest.raises(PrecisionUnavailableError, match="fp32"):
        NumbaBackend(precision="bf16")
