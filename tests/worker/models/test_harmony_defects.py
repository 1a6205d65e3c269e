"""Four defects of Harmony Speech Engine's VoiceFixer, by their letters, none of which is to be here: A, B, C and H.

They lie in the models. D to G lie in the way to them: long inputs, many requests at once, a bad one among good ones,
and steps that take long.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from shared.settings import Settings
from tests.support.light_weights import blank, light_restorer, save
from worker.backends.cuda import CudaBackend
from worker.engine import RestoreItem, VocodeItem
from worker.engine.load import load_engine
from worker.models import networks
from worker.models.checkpoints import open_checkpoint, read_checkpoint
from worker.models.constants import padded_length
from worker.models.errors import CheckpointMismatchError
from worker.models.files import FILES, RESTORER_FILE, VOCODER_FILE
from worker.models.folding import fold_weight_norm
from worker.models.hub import WeightsSource
from worker.models.interface import MelSpan, RestoreCondition
from worker.models.layout import VOCODER_IN_RESTORER
from worker.models.plain import PlainBackend
from worker.models.registry import load_restorer, load_vocoder
from worker.models.vocoder import VoiceFixerVocoder

# A: there, 0 of the vocoder's 233 tensors match, the load is lenient, and random noise is served.


def checkpoint(folder, file):
    return read_checkpoint(folder / file, file, allow_other=True).tensors


def test_a_every_tensor_of_the_vocoders_file_is_in_the_network_that_is_served(random_weights, vocoder):
    tensors = checkpoint(random_weights, VOCODER_FILE)
    beside = checkpoint(random_weights, RESTORER_FILE)
    served = vocoder.runner.state_dict()
    skipped = {key for key in tensors if ".skip_conv." in key}
    split = {key for key in tensors if key.endswith((".weight_g", ".weight_v"))}
    plain = set(tensors) - skipped - split
    assert (len(tensors), len(skipped), len(split), len(plain)) == (233, 8, 150, 75)
    assert set(served) == plain | {key[: -len("_g")] for key in split}
    for key, weight in fold_weight_norm({key: tensors[key] for key in split}).items():
        assert torch.equal(served[key], weight), key
    for key in plain:  # biases, which the package takes from the file beside it
        assert torch.equal(served[key], beside[VOCODER_IN_RESTORER + key]), key


def test_a_every_tensor_of_the_restorer_is_in_its_network(random_weights, restorer):
    tensors = checkpoint(random_weights, RESTORER_FILE)
    own = {key.removeprefix("generator."): tensor for key, tensor in tensors.items() if key.startswith("generator.")}
    assert len(tensors) == 894
    network = restorer.unfolded.state_dict()
    assert set(network) == set(own)
    assert all(torch.equal(network[key], tensor) for key, tensor in own.items())
    torch.testing.assert_close(restorer.front_end.get_buffer("triangles"), tensors["mel.fb"], rtol=0, atol=0)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("rename", ["model.{}".format, "module.{}".format, str.upper])
def test_a_a_checkpoint_with_other_key_names_is_refused_whole(tmp_path, file, rename):
    tensors = blank(file)
    save(tmp_path, file, {rename(key): tensor for key, tensor in tensors.items()})
    with pytest.raises(CheckpointMismatchError) as raised:
        open_checkpoint(tmp_path / file, file, allow_other=True)
    assert (raised.value.expected, raised.value.found) == (len(tensors), len(tensors))
    assert len(raised.value.missing) == len(raised.value.unexpected) == len(tensors)


@pytest.mark.parametrize("file", FILES)
def test_a_not_one_tensor_may_be_another(tmp_path, file):
    tensors = blank(file)
    key = sorted(tensors)[len(tensors) // 2]
    tensors[f"{key}.renamed"] = tensors.pop(key)
    save(tmp_path, file, tensors)
    with pytest.raises(CheckpointMismatchError) as raised:
        open_checkpoint(tmp_path / file, file, allow_other=True)
    assert (raised.value.missing, raised.value.unexpected) == ((key,), (f"{key}.renamed",))


# B: there, the mel is taken to the natural logarithm where the model has that to base 10.


def decibels(ours, theirs):
    """The error of a mel in dB, bin by bin, over the 80 dB below its peak."""
    heard = theirs > theirs.max() * 1e-4
    return np.abs(20 * np.log10(ours[heard] / theirs[heard]))


@torch.inference_mode()
def test_b_the_mel_is_that_of_the_voicefixer_package(package_stages, restorer):
    signal, package = package_stages[0]
    ours = restorer.forward(torch.from_numpy(signal.audio)[None, None]).numpy()
    assert decibels(ours, package.restored).max() < 0.01


@torch.inference_mode()
def test_b_with_the_natural_logarithm_it_would_be_decibels_off(package_stages, restorer, monkeypatch):
    _, package = package_stages[0]
    heard = torch.from_numpy(package.mel)
    assert decibels(restorer.unfolded(heard).numpy(), package.restored).max() < 0.01
    monkeypatch.setattr(networks, "to_log", lambda mel: mel.clamp_min(1e-8).log())
    monkeypatch.setattr(networks, "from_log", lambda log: log.clamp_max(5.0).exp())
    error = decibels(restorer.unfolded(heard).numpy(), package.restored)
    assert error.mean() > 1
    assert error.max() > 5


# C: there, what the package computes beside each upsampler and throws away is added to the signal.


@torch.inference_mode()
def test_c_the_skip_branch_has_no_part_in_a_sample(random_weights):
    tensors = dict(checkpoint(random_weights, VOCODER_FILE))
    mel = torch.rand(1, 1, 24, 128, generator=torch.Generator().manual_seed(4)) ** 4 * 10

    def vocoded(changed):
        return VoiceFixerVocoder.from_tensors(tensors | changed).forward(mel)

    plain = vocoded({})
    skips = [key for key in tensors if ".skip_conv." in key]
    assert len(skips) == 8
    assert torch.equal(vocoded({key: 100 * torch.ones_like(tensors[key]) for key in skips}), plain)
    live = next(key for key in tensors if key.endswith("weight_g") and ".4." in key)
    assert not torch.equal(vocoded({live: 1.5 * tensors[live]}), plain), "any other tensor has"


# H: there, on CUDA, the weights of the STFT stay on the CPU.


def tensors_of(thing: object, path: str = "model", seen: set[int] | None = None) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that a model holds, wherever: parameters, buffers, plain attributes, what functions close over.

    But for `_originals`, which gives those of the file anew when mode 2 is asked for first.
    """
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, type | str | int | float | torch.device | torch.dtype):
        return
    seen.add(id(thing))
    parts: dict[str, object] = {}
    if isinstance(thing, Tensor):
        yield path, thing
    elif isinstance(thing, dict):
        parts = {str(key): part for key, part in thing.items()}
    elif isinstance(thing, list | tuple):
        parts = {str(number): part for number, part in enumerate(thing)}
    elif is_dataclass(thing):
        parts = {field.name: getattr(thing, field.name) for field in fields(thing)}
    elif closure := getattr(thing, "__closure__", None):
        parts = {str(number): cell.cell_contents for number, cell in enumerate(closure)}
    elif isinstance(thing, nn.Module) or type(thing).__module__.startswith("worker."):
        parts = {name: part for name, part in vars(thing).items() if name != "_originals"}
    for name, part in parts.items():
        yield from tensors_of(part, f"{path}.{name}", seen)


def elsewhere(model: object, device: str) -> list[str]:
    return [path for path, tensor in tensors_of(model) if tensor.device != torch.device(device)]


def restorer_on_meta(folder, backend, *, trained=1.0):
    """On a device without memory, which refuses to compute with what lies on another."""
    source = WeightsSource(
        folder=light_restorer(folder, factor=0.5, trained=trained), repositories=(), allow_other=True
    )
    return load_restorer("VoiceFixerRestorer", weights=source, backend=backend)


@pytest.mark.parametrize(
    ("kind", "trained"),
    [pytest.param(PlainBackend, 1.01, id="STFT with weights of its own"), pytest.param(CudaBackend, 1.0, id="FFT")],
)
@torch.inference_mode()
def test_h_all_of_a_restorer_is_on_its_device(tmp_path, kind, trained):
    restorer = restorer_on_meta(tmp_path, kind("meta"), trained=trained)
    assert len(list(tensors_of(restorer))) > 500
    assert elsewhere(restorer, "meta") == []
    assert any("stft" in path for path, _ in tensors_of(restorer)) == (trained != 1.0)
    mel = restorer.front_end(torch.empty(2, padded_length(2), device="meta"))
    clean = restorer.runner.denoise(mel)
    assert restorer.runner.refine(mel, clean).device.type == "meta"
    assert {tensor.device.type for tensor in restorer.unfolded.state_dict().values()} == {"meta"}
    assert {buffer.device.type for buffer in restorer.front_end.buffers()} == {"meta"}


@pytest.mark.parametrize("kind", [PlainBackend, CudaBackend])
@torch.inference_mode()
def test_h_all_of_a_vocoder_is_on_its_device(random_weights, kind):
    source = WeightsSource(folder=random_weights, repositories=(), allow_other=True)
    vocoder = load_vocoder("VoiceFixerVocoder", weights=source, backend=kind("meta"))
    assert len(list(tensors_of(vocoder))) > 100
    assert elsewhere(vocoder, "meta") == []
    condition = vocoder._normalise(torch.empty(2, 1, 30, 128, device="meta"))
    assert vocoder.runner(condition, (441, 4410)).device.type == "meta"


def test_h_what_stays_behind_is_found(tmp_path):
    restorer = restorer_on_meta(tmp_path, PlainBackend("meta"))
    restorer.front_end.transform.to_empty(device="cpu")
    assert [path for path in elsewhere(restorer, "meta") if "transform" in path]
    with pytest.raises(RuntimeError):
        restorer.front_end(torch.empty(2, padded_length(2), device="meta"))


def test_h_each_entry_of_a_config_is_on_the_device_that_it_names(tmp_path, monkeypatch):
    def choose(name, *, device, **_):
        return PlainBackend("meta" if device == "cuda" else "cpu")

    monkeypatch.setattr("worker.engine.placing.choose_backend", choose)
    folder = light_restorer(tmp_path / "light", factor=0.5)
    entries = [
        {"name": device, "model": str(folder), "model_type": "VoiceFixerRestorer", "device_config": {"device": device}}
        for device in ("cpu", "cuda")
    ]
    config = tmp_path / "config.yml"
    config.write_text(yaml.safe_dump({"model_configs": entries}))
    engine = load_engine(Settings(config=str(config), weights_unverified=True), ("restore",))
    for name, device in (("cpu", "cpu"), ("cuda", "meta")):
        assert elsewhere(engine._restorers[name].get()._runner._model, device) == []
    engine.close()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_h_on_cuda_both_models_give_what_they_give_on_the_cpu(random_weights, tmp_path):
    kinds = {"voicefixer-restorer": "VoiceFixerRestorer", "voicefixer-vocoder": "VoiceFixerVocoder"}
    config = tmp_path / "config.yml"
    entries = [
        {"name": name, "model": str(random_weights), "model_type": kind, "device_config": {"device": "cuda"}}
        for name, kind in kinds.items()
    ]
    config.write_text(yaml.safe_dump({"model_configs": entries}))
    noise = np.random.default_rng(5).normal(0, 0.1, padded_length(64)).astype(np.float32)
    span = MelSpan(first_frame=0, total_frames=64, total_samples=441 * 63, start=0, stop=441 * 63)
    found = []
    for more in ({}, {"device": "cpu"}):
        engine = load_engine(Settings(config=str(config), weights_unverified=True, **more), ("restore", "vocode"))
        for stage in ("restore", "vocode"):
            assert engine.model_label(stage).endswith("cpu" if more else "cuda")
        [mel] = engine.restore([RestoreItem(noise, RestoreCondition())])
        [audio] = engine.vocode([VocodeItem(found[0][0] if found else mel, span)])
        engine.close()
        found.append((mel, audio))
    assert decibels(found[0][0], found[1][0]).max() < 0.1
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-3)
