"""The CUDA backend on a CPU: the same casts, layouts, groups and shapes, without graphs and streams."""

import gc

import pytest
import torch

from bench.parity import snr_db
from bench.signals import speech_like
from worker.backends.cuda import CudaBackend
from worker.backends.cuda.backend import DTYPES
from worker.backends.cuda.graphs import Graphs
from worker.backends.cuda.stacks import plain_stack
from worker.backends.cuda.vocoder import FRAME_GRID, CudaVocoder, grow
from worker.models.constants import HOP
from worker.models.frontend import centre_pad
from worker.models.hub import WeightsSource
from worker.models.interface import MelSpan, RestoreCondition
from worker.models.registry import load_restorer, load_vocoder
from worker.models.vocoder import first_sample

BF16_DB = {"unet": 30.0, "vocoder": 26.0, "chain": 26.0}
"""Least SNR of bf16 against fp32 with these weights; seen: 37, 30 and 30 dB."""


@pytest.fixture(scope="module")
def source(random_weights):
    return WeightsSource(folder=random_weights, repositories=(), allow_other=True)


@pytest.fixture(scope="module")
def plain(source):
    return load_restorer("VoiceFixerRestorer", weights=source), load_vocoder("VoiceFixerVocoder", weights=source)


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def ours(request, source):
    backend = CudaBackend("cpu", request.param)
    return (
        load_restorer("VoiceFixerRestorer", weights=source, backend=backend),
        load_vocoder("VoiceFixerVocoder", weights=source, backend=backend),
    )


@pytest.fixture(scope="module")
def given(plain):
    """What the stages get and give in PyTorch's fp32, for two recordings of a third of a second."""
    restorer, vocoder = plain
    audio = torch.stack([torch.from_numpy(speech_like(14_000, seed)) for seed in (1, 2)])[:, None]
    mel = restorer.front_end(centre_pad(audio[:, 0]))
    clean = restorer.runner.denoise(mel)
    restored = restorer.forward(audio)
    return {
        "audio": audio,
        "mel": mel,
        "clean": clean,
        "unet": restorer.runner.refine(mel, clean),
        "restored": restored,
        "vocoder": vocoder.forward(restored),
    }


def test_every_stage_is_as_near_to_pytorch_as_its_precision(ours, given):
    restorer, vocoder = ours
    found = {
        "denoiser": (given["clean"], restorer.runner.denoise(given["mel"])),
        "unet": (given["unet"], restorer.runner.refine(given["mel"], given["clean"])),
        "vocoder": (given["vocoder"], vocoder.forward(given["restored"])),
        "chain": (given["vocoder"], vocoder.forward(restorer.forward(given["audio"]))),
    }
    assert {made.dtype for _, made in found.values()} == {torch.float32}
    snr = {stage: snr_db(*pair) for stage, pair in found.items()}
    assert snr["denoiser"] >= 100, snr
    if restorer.backend.precision == "fp32":
        assert min(snr.values()) >= 100, snr
    else:
        assert all(least <= snr[stage] < 60 for stage, least in BF16_DB.items()), snr


def test_mode_2_keeps_the_precision_of_the_file(ours, plain, given):
    padded = centre_pad(given["audio"][:, 0])[:1]
    frames = (padded.shape[1] - 2048) // HOP
    padded = padded[:, : 2048 + HOP * frames]
    drawn = [one.restore(padded, [RestoreCondition(mode=2, seed=5)]) for one in (plain[0], ours[0])]
    assert snr_db(*drawn) >= 100


@pytest.mark.parametrize("wanted", [(0, 441), (4000, 7001), (9000, 13_230)])
def test_a_window_gives_the_samples_that_the_whole_gives(ours, plain, given, wanted):
    restorer, vocoder = ours
    condition = plain[1]._normalise(given["restored"])[:, :, :30]
    whole = plain[1].runner(condition, (0, 30 * HOP))[:, slice(*wanted)]
    found = vocoder.runner(condition, wanted)
    assert found.shape == (2, wanted[1] - wanted[0])
    assert snr_db(whole, found) >= (100 if restorer.backend.precision == "fp32" else 24)


def test_items_that_are_too_wide_together_take_turns_and_give_the_same(plain, given):
    condition = plain[1]._normalise(given["restored"])[:, :, :12]
    made = []
    for largest in (10**9, 64 * 12 * HOP, 1):
        vocoder = CudaVocoder(
            plain[1].runner,
            dtype=torch.float32,
            graphs=Graphs(None),
            make_stack=plain_stack(torch.float32),
            largest=largest,
        )
        made.append(vocoder(condition, (0, 12 * HOP)))
    for other in made[1:]:
        assert snr_db(made[0], other) >= 100


def test_inner_windows_of_files_of_any_length_have_one_shape():
    shapes = set()
    for samples in range(20_000 * HOP, 20_002 * HOP, 37):
        frames = samples // HOP + 1
        span = MelSpan(6016 - 580, frames, samples, 6016 * HOP, 9024 * HOP)
        start = first_sample(span)
        shapes.add(grow((start, start + 3008 * HOP), 4168))
    assert shapes == {(580 * HOP, (580 + 3008 + FRAME_GRID) * HOP)}


def test_a_range_grows_within_its_window():
    assert grow((0, 5 * HOP), 5) == (0, 5 * HOP)
    assert grow((HOP, 2 * HOP), 5) == (0, 4 * HOP)


class Recorder:
    """Records as a CUDA graph does: it reads from one place and writes to another, whoever replays."""

    def __init__(self):
        self.shapes = []

    def record(self, function, given):
        self.shapes.append(tuple(given.shape))
        held = given.clone()
        made = function(held)

        def replay(fresh):
            held.copy_(fresh)
            made.copy_(function(held))
            return made.clone()

        return replay


def test_small_batches_are_recorded_while_warming_and_replayed_after(source, plain, given, monkeypatch):
    recorder = Recorder()
    backend = CudaBackend("cpu", "fp32")
    monkeypatch.setattr("worker.backends.cuda.backend.CudaRecorder", lambda device: recorder)
    backend.device = torch.device("cuda")
    graphs = backend._new_graphs()
    backend.device = torch.device("cpu")
    vocoder = CudaVocoder(plain[1].runner, dtype=torch.float32, graphs=graphs, make_stack=plain_stack(torch.float32))
    condition = plain[1]._normalise(given["restored"])[:, :, :20]
    wanted = (300, 4000)
    vocoder(condition, wanted)
    assert len(graphs) == 0
    with backend.warming():
        assert torch.backends.cudnn.benchmark
        vocoder(torch.zeros_like(condition), wanted)
        vocoder(condition[:1].repeat(5, 1, 1), wanted)
    assert not torch.backends.cudnn.benchmark
    assert recorder.shapes == [(2, 128, 20)]
    first, second = vocoder(condition, wanted), vocoder(condition.flip(0), (301, 4001))
    vocoder(condition[:, :, :12], (0, 441))
    assert len(graphs) == 1
    assert snr_db(plain[1].runner(condition, wanted), first) >= 100
    assert snr_db(plain[1].runner(condition.flip(0), (301, 4001)), second) >= 100


@pytest.mark.parametrize("precision", DTYPES)
def test_only_fp32_is_strict_and_matrix_products_always_are(precision, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", torch.backends.cudnn.allow_tf32)
    backend = CudaBackend("cpu", precision)
    assert (backend.name, backend.precision) == ("cuda", precision)
    assert torch.backends.cudnn.allow_tf32 == (precision != "fp32")
    assert not torch.backends.cuda.matmul.allow_tf32


def test_while_a_strict_backend_is_on_cuda_no_other_lets_it_round(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    strict = CudaBackend("cuda:1", "fp32")
    CudaBackend("cuda:0", "bf16")
    assert not torch.backends.cudnn.allow_tf32
    del strict
    gc.collect()
    CudaBackend("cuda:0", "bf16")
    assert torch.backends.cudnn.allow_tf32
