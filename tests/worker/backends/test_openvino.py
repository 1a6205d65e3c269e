import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn

if find_spec("openvino") is None:
    pytest.skip("openvino is not installed", allow_module_level=True)

from worker.backends.choose import choose_backend
from worker.backends.openvino import backend as backend_module
from worker.backends.openvino import convert, library, vocoder
from worker.backends.openvino.backend import OpenVINOBackend
from worker.backends.openvino.parts import Input, Part
from worker.models.errors import PrecisionUnavailableError
from worker.models.hub import WeightsSource
from worker.models.interface import MelSpan
from worker.models.registry import load_restorer, load_vocoder

HOP = 441


@pytest.fixture(scope="module")
def source(random_weights):
    return WeightsSource(folder=random_weights, repositories=(), allow_other=True)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("openvino")


@pytest.fixture(scope="module")
def restorers(source, cache_dir):
    """OpenVINO's and the reference."""
    usual = backend_module.USUAL_FRAMES
    backend_module.USUAL_FRAMES = 64
    yield (
        load_restorer("VoiceFixerRestorer", weights=source, backend=OpenVINOBackend(cache_dir=cache_dir)),
        load_restorer("VoiceFixerRestorer", weights=source),
    )
    backend_module.USUAL_FRAMES = usual


@pytest.fixture(scope="module")
def vocoders(source, cache_dir):
    """OpenVINO's and the reference."""
    return (
        load_vocoder("VoiceFixerVocoder", weights=source, backend=OpenVINOBackend(cache_dir=cache_dir)),
        load_vocoder("VoiceFixerVocoder", weights=source),
    )


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.inference_mode():
        yield


def decibels(found, reference):
    error = (found.double() - reference.double()).square().sum()
    return float(10 * torch.log10(reference.double().square().sum() / error))


def some_mel(frames, items=1):
    generator = torch.Generator().manual_seed(frames)
    return torch.rand(items, 1, frames, 128, generator=generator) ** 6 * 3 + 1e-4


def in_small_tiles(runner, monkeypatch, units):
    for part in runner._parts.values():
        if part.part.reach:
            monkeypatch.setattr(part, "part", replace(part.part, largest=units))


@pytest.mark.parametrize(("frames", "items"), [(1, 1), (3, 1), (129, 2), (331, 1)])
def test_the_restorer_s_networks_give_what_pytorch_gives(restorers, frames, items):
    ours, plain = (restorer.runner for restorer in restorers)
    mel = some_mel(frames, items)
    clean = plain.denoise(mel)
    residual = plain.refine(mel, clean)
    assert decibels(ours.denoise(mel), clean) > 100
    assert decibels(ours.refine(mel, clean), residual) > 100
    assert ours.refine(mel, clean).shape == (items, 1, frames, 128)


def test_the_unet_s_tiles_cannot_be_told_from_one_pass(restorers, monkeypatch):
    ours, plain = (restorer.runner for restorer in restorers)
    mel = some_mel(200)
    in_small_tiles(ours, monkeypatch, 24)
    assert decibels(ours.refine(mel, mel), plain.refine(mel, mel)) > 100


# The whole of a short one, windows at either end and inside, one sample.
@pytest.mark.parametrize(
    ("frames", "wanted"),
    [(5, (0, 5 * HOP)), (105, (0, 105 * HOP)), (731, (0, 3001)), (731, (364 * HOP + 5, 370 * HOP)),
     (731, (722 * HOP - 1, 731 * HOP)), (731, (400 * HOP, 400 * HOP + 1))],
)  # fmt: skip
def test_the_vocoder_s_network_gives_what_pytorch_gives(vocoders, frames, wanted):
    ours, plain = (vocoder.runner for vocoder in vocoders)
    condition = vocoders[1]._normalise(some_mel(frames))
    found = ours(condition, wanted)
    assert found.shape == (1, wanted[1] - wanted[0])
    assert decibels(found, plain(condition, wanted)) > 100


def test_the_vocoder_s_tiles_and_pieces_cannot_be_told_from_one_pass(vocoders, monkeypatch):
    ours, plain = (vocoder.runner for vocoder in vocoders)
    condition = vocoders[1]._normalise(some_mel(70, items=2))
    wanted = (13 * HOP + 7, 69 * HOP)
    in_small_tiles(ours, monkeypatch, 2000)
    monkeypatch.setattr(vocoder, "PIECE", 30 * HOP + 1)
    assert decibels(ours(condition, wanted), plain(condition, wanted)) > 100


def test_the_whole_chain_gives_what_pytorch_gives(restorers, vocoders):
    generator = torch.Generator().manual_seed(1)
    audio = torch.randn(2, 1, 30_011, generator=generator) * torch.linspace(0, 0.2, 30_011)
    ours, plain = (
        voices.forward(restorer.forward(audio), samples=30_011)
        for restorer, voices in zip(restorers, vocoders, strict=True)
    )
    assert ours.shape == audio.shape
    assert decibels(ours, plain) > 100


def test_windows_at_the_ends_of_a_file_and_inside_it_give_what_pytorch_gives(vocoders):
    mel = some_mel(700)
    for first, start in ((0, 0), (640, HOP * 990), (2345 - 700, HOP * 2340)):
        span = MelSpan(first_frame=first, total_frames=2345, total_samples=HOP * 2344, start=start, stop=start + 1500)
        ours, plain = (vocoder.vocode(mel, [span]) for vocoder in vocoders)
        assert decibels(ours, plain) > 100


def test_a_new_length_compiles_nothing(restorers, vocoders, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a model was compiled")

    monkeypatch.setattr(library.ov.Core, "compile_model", refuse)
    for frames in (5, 66, 91):
        mel = some_mel(frames)
        restorers[0].runner.refine(mel, restorers[0].runner.denoise(mel))
        vocoders[0].runner(mel[:, 0].mT.contiguous(), (0, frames * HOP))


def test_a_restart_finds_what_was_converted_and_other_weights_do_not(vocoders, source, cache_dir, monkeypatch):
    class Converted(Exception):
        pass

    def refuse(*args):
        raise Converted

    monkeypatch.setattr(convert, "convert", refuse)
    again = load_vocoder("VoiceFixerVocoder", weights=source, backend=OpenVINOBackend(cache_dir=cache_dir))
    condition = torch.zeros(1, 128, 9)
    assert torch.equal(again.runner(condition, (0, 900)), vocoders[0].runner(condition, (0, 900)))

    monkeypatch.setattr(convert, "VERSION", convert.VERSION + 1)
    with pytest.raises(Converted):
        load_vocoder("VoiceFixerVocoder", weights=source, backend=OpenVINOBackend(cache_dir=cache_dir))


def test_what_is_converted_is_kept_beside_the_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    x = library.ov.opset13.parameter([-1, 1], np.float32)
    monkeypatch.setattr(backend_module, "_converted", lambda parts: {"one": library.ov.Model([x], [x])})
    (tmp_path / "weights").mkdir()
    for folder, kept in ((tmp_path / "weights", tmp_path / "weights"), (None, tmp_path / "cache")):
        backend = choose_backend("openvino", device="cpu", weights=folder)
        assert list(backend._models("restorer", {"vf.ckpt": str(folder)}, list)) == ["one"]
        assert list(kept.rglob("one.xml"))
    assert len(list(tmp_path.rglob("one.xml"))) == 2


def test_a_precision_that_the_cpu_has_not_is_refused(monkeypatch):
    monkeypatch.setattr(library, "capabilities", lambda: frozenset({"FP32"}))
    for precision in ("bf16", "fp16"):
        with pytest.raises(PrecisionUnavailableError, match="fp32"):
            OpenVINOBackend(precision=precision)


@pytest.mark.skipif("BF16" not in library.capabilities(), reason="this CPU does not compute in bf16")
def test_bf16_is_near_fp32_and_not_fp32(restorers, source, cache_dir, monkeypatch):
    monkeypatch.setattr(backend_module, "USUAL_FRAMES", 64)
    half = load_restorer(
        "VoiceFixerRestorer", weights=source, backend=OpenVINOBackend(precision="bf16", cache_dir=cache_dir)
    )
    mel = some_mel(100)
    for stage in (lambda runner: runner.denoise(mel), lambda runner: runner.refine(mel, mel)):
        assert 20 < decibels(stage(half.runner), stage(restorers[1].runner)) < 70


def run_python(code, home):
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)


def test_the_library_s_telemetry_is_never_loaded_and_leaves_no_trace(tmp_path):
    code = "import sys, worker.backends.openvino.library; print(sys.modules['openvino_telemetry'])"
    assert run_python(code, tmp_path).stdout.strip() == "None"
    assert list(tmp_path.iterdir()) == []


def test_without_the_library_the_error_says_what_to_install(tmp_path):
    code = """
import sys
sys.modules["openvino"] = None
from worker.models.errors import BackendUnavailableError
try:
    import worker.backends.openvino.library
except BackendUnavailableError as error:
    print(error)
"""
    assert "pip install openvino" in run_python(code, tmp_path).stdout


def test_networks_without_hashes_are_not_kept(tmp_path, monkeypatch):
    x = library.ov.opset13.parameter([-1, 1], np.float32)
    monkeypatch.setattr(convert, "convert", lambda part, network: library.ov.Model([x], [x]))
    backend = OpenVINOBackend(cache_dir=tmp_path)
    assert list(backend._models("restorer", {}, lambda: [])) == []
    assert list(tmp_path.iterdir()) == []


def test_networks_may_be_converted_at_once():
    part = Part("any", (Input(4),))
    networks = [nn.Sequential(*(nn.Conv1d(4, 4, 1) for _ in range(50))) for _ in range(2)]

    def converted(network):
        return [convert.convert(part, network) for _ in range(3)]

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(converted, networks)
    assert len(first) == len(second) == 3
