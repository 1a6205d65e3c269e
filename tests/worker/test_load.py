import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import yaml
from structlog.testing import capture_logs

from shared.errors import SettingsError
from shared.settings import Settings
from tests.support.light_weights import light_restorer
from worker.backends.numba.backend import NumbaBackend
from worker.engine import RestoreItem, load
from worker.engine.load import load_engine
from worker.engine.places import Host
from worker.engine.placing import model_threads
from worker.models.constants import padded_length
from worker.models.errors import ModelNotLoaded
from worker.models.files import RESTORER_FILE
from worker.models.interface import RestoreCondition
from worker.models.plain import PlainBackend


def test_several_model_threads_share_the_cores_and_only_models_that_may_be_shared():
    backend = PlainBackend()
    assert model_threads(Settings(), backend) == 1
    assert model_threads(Settings(model_threads=3), backend) == 3
    backend.device = torch.device("cuda", 1)
    assert model_threads(Settings(), backend) == 2
    backend.name = "openvino"
    with pytest.raises(SettingsError, match="VFQ_MODEL_THREADS"):
        model_threads(Settings(model_threads=2), backend)


@pytest.mark.parametrize(("cores", "windows"), [(1, 1), (2, 1), (7, 1), (8, 2), (16, 4), (64, 4)])
def test_many_cores_compute_several_windows_at_once(monkeypatch, cores, windows):
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    assert model_threads(Settings(), NumbaBackend()) == windows
    assert model_threads(Settings(model_threads=3), NumbaBackend()) == 3
    assert model_threads(Settings(), PlainBackend()) == 1


WEIGHT_FREE = {"restorer": "SpectralGateRestorer", "vocoder": "GriffinLimVocoder"}


@pytest.mark.parametrize(
    ("stages", "models"),
    [(["restore", "vocode"], WEIGHT_FREE), (["restore"], {"restorer": "SpectralGateRestorer"}),
     (["vocode"], {"vocoder": "GriffinLimVocoder"})],
)  # fmt: skip
def test_models_without_weights_may_be_shared_whatever_backend_would_run_networks(stages, models):
    engine = load_engine(Settings(device="cpu", backend="numba", model_threads=2, **models), stages)
    assert engine.at_once == 2
    assert engine.model_label(stages[0]).endswith(" - torch fp32 cpu")
    engine.close()


def test_a_model_beside_one_without_weights_is_still_one_thread_s():
    settings = Settings(device="cpu", backend="openvino", model_threads=2, restorer="SpectralGateRestorer")
    with pytest.raises(SettingsError, match=r"VFQ_MODEL_THREADS.*openvino"):
        load_engine(settings, ["restore", "vocode"])


def test_a_backend_is_told_where_the_weights_lie(monkeypatch, tmp_path):
    asked = []

    def choose(name, *, weights, **options):
        asked.append(weights)
        return PlainBackend()

    monkeypatch.setattr("worker.engine.placing.choose_backend", choose)
    for folder in (str(tmp_path), None):
        load_engine(Settings(weights_dir=folder, restorer="SpectralGateRestorer"), ["restore"]).close()
    assert asked == [tmp_path, None]


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    """Folders of restorers that multiply by what their folders are called."""
    folder = tmp_path_factory.mktemp("light")
    for name, factor in (("half", 0.5), ("tenth", 0.1)):
        light_restorer(folder / name, factor=factor)
    return folder


@pytest.fixture
def serve(tmp_path):
    """Make the engine of a config.yml with these entries; plain PyTorch, which loads soonest."""
    engines = []

    def make(*entries, stages=("restore",), **settings):
        path = tmp_path / "config.yml"
        path.write_text(yaml.safe_dump({"model_configs": list(entries)}))
        made = {"config": str(path), "backend": "torch", "weights_unverified": True, **settings}
        engines.append(load_engine(Settings(**made), stages))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def entry(name, folder, *, device="cpu", kind="VoiceFixerRestorer", **more):
    """An entry of a config.yml; the folder is none for a model without weights."""
    weights = {} if folder is None else {"model": str(folder)}
    return {"name": name, "model_type": kind, "device_config": {"device": device}, **weights, **more}


WINDOW = RestoreItem(
    np.random.default_rng(0).normal(0, 0.1, padded_length(20)).astype(np.float32), RestoreCondition(seed=3)
)


def level(engine, name=None):
    return float(engine.restore([WINDOW], name)[0].sum())


def test_restorers_of_one_type_are_what_their_folders_hold(serve, light):
    engine = serve(entry("b", light / "tenth"), entry("voicefixer-restorer", light / "half"))
    assert level(engine, "b") == pytest.approx(0.2 * level(engine, "voicefixer-restorer"), rel=1e-5)
    assert level(engine) == level(engine, "voicefixer-restorer"), "the usual name is the default"
    assert engine.model_label("restore", "b") != engine.model_label("restore")


def test_what_differs_in_name_and_seed_alone_is_loaded_once(serve, light, monkeypatch):
    loads = []
    real = load.load_restorer
    monkeypatch.setattr(load, "load_restorer", lambda *given, **more: loads.append(1) or real(*given, **more))
    alike = [entry("a", light / "half", loading="lazy"), entry("b", light / "half", seed=7)]
    engine = serve(*alike, entry("c", light / "half", max_batch_size=2))
    assert len(loads) == 2
    assert level(engine, "a") == level(engine, "b") == level(engine, "c")
    assert len(loads) == 2
    assert engine.at_once == 2


def test_a_lazy_model_is_loaded_once_while_others_go_on(serve, light, monkeypatch):
    begun, go_on, loads = threading.Event(), threading.Event(), []
    real = load.load_restorer

    def slow(*given, weights, **more):
        loads.append(weights.folder.name)
        if weights.folder.name == "tenth":
            begun.set()
            assert go_on.wait(10)
        return real(*given, weights=weights, **more)

    monkeypatch.setattr(load, "load_restorer", slow)
    engine = serve(entry("a", light / "half"), entry("late", light / "tenth", loading="lazy"))
    assert loads == ["half"]
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(level, engine, "late") for _ in range(3)]
        assert begun.wait(10)
        expected = 0.2 * level(engine, "a")
        assert not any(one.done() for one in waiting)
        go_on.set()
        assert [one.result(10) for one in waiting] == [pytest.approx(expected, rel=1e-5)] * 3
    assert loads == ["half", "tenth"]


def test_a_lazy_model_that_cannot_be_loaded_fails_who_asked_and_the_next_tries_again(serve, light, tmp_path):
    engine = serve(entry("a", light / "half"), entry("late", tmp_path / "later", loading="lazy"))
    with capture_logs() as lines, pytest.raises(ModelNotLoaded, match=r"^late cannot be loaded.*later is not there"):
        level(engine, "late")
    assert [(line["name"], line["code"]) for line in lines if line["log_level"] == "error"] == [
        ("late", "weights_unavailable")
    ]
    (tmp_path / "later").symlink_to(light / "tenth")
    assert level(engine, "late") == pytest.approx(0.2 * level(engine, "a"), rel=1e-5)


def damaged(folder):
    folder.mkdir()
    (folder / RESTORER_FILE).write_bytes(b"<html>not found</html>")
    return folder


@pytest.mark.parametrize(
    ("made", "code", "words"),
    [
        (lambda light, own: entry("x", own), "weights_unavailable", rf"{RESTORER_FILE} is not in .*put it there"),
        (lambda light, own: entry("x", own / "no"), "weights_unavailable", "no is not there"),
        (lambda light, own: entry("x", damaged(own / "bad")), "checkpoint_unreadable", "no whole checkpoint"),
        (lambda light, own: entry("x", "me/mine"), "weights_unavailable", "me/mine.*no network.*same VFQ_CONFIG"),
        (
            lambda light, own: entry("x", light / "half", device="cuda:99"),
            "device_unavailable",
            "'cuda:99' is not here.*--device cpu",
        ),
        (lambda light, own: entry("x", light / "half", dtype="half"), "precision_unavailable", "fp16.*entry's dtype"),
    ],
)
def test_what_keeps_a_model_from_being_loaded_is_one_error_that_names_it(
    serve, light, tmp_path, monkeypatch, made, code, words
):
    monkeypatch.setattr("worker.models.hub._why_not_to_ask", lambda: "there is no network")
    with pytest.raises(ModelNotLoaded, match=rf"^x cannot be loaded: .*{words}") as raised:
        serve(made(light, tmp_path))
    assert raised.value.code == code
    assert raised.value.__cause__ is None, "its traceback would be of no use"


def test_weights_that_were_not_published_need_a_word(serve, light):
    with pytest.raises(ModelNotLoaded, match=r"^x cannot be loaded.*VFQ_WEIGHTS_UNVERIFIED") as raised:
        serve(entry("x", light / "half"), weights_unverified=False)
    assert raised.value.code == "checkpoint_not_published"


def test_a_model_that_finds_no_memory_is_told_so(serve, light, monkeypatch):
    def starve(*given, **more):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(load, "load_restorer", starve)
    with pytest.raises(ModelNotLoaded, match=r"^x cannot be loaded.*too little memory") as raised:
        serve(entry("x", light / "half"))
    assert raised.value.code == "model_out_of_memory"


def test_the_command_lines_device_wins_over_the_files(serve, light):
    engine = serve(entry("x", light / "half", device="cuda"), device="cpu")
    assert engine.model_label("restore").endswith("torch fp32 cpu")


def test_only_the_models_of_the_stages_are_loaded(serve, light):
    engine = serve(entry("x", "/nowhere"), entry("v", None, kind="GriffinLimVocoder"), stages=("vocode",))
    assert engine.model_label("vocode", "v").startswith("GriffinLimVocoder")


@pytest.fixture
def cards(monkeypatch):
    """CUDA devices without CUDA: models are placed there and never loaded."""

    def choose(name, *, device, precision, **_):
        backend = PlainBackend()
        backend.name = "cuda" if device.startswith("cuda") else "numba"
        backend.device, backend.precision = torch.device(device), precision
        return backend

    monkeypatch.setattr("worker.engine.placing.choose_backend", choose)
    monkeypatch.setattr("worker.engine.devices.place_of", lambda device, **_: Host())


def test_every_device_has_threads_of_its_own_and_its_largest_batch(serve, light, cards):
    lazy = {"loading": "lazy"}
    engine = serve(
        entry("a", light / "half", device="cuda", max_batch_size=4, **lazy),
        entry("b", light / "half", device="cuda:0", max_batch_size=8, **lazy),
        entry("c", light / "half", device="cuda:1", max_batch_size=2, **lazy),
        entry("d", light / "half", device="cpu", max_batch_size=1, **lazy),
    )
    found = {name: (one.batcher.threads, one.most) for name, one in engine._devices._open.items()}
    assert found == {"cuda:0": (2, 8), "cuda:1": (2, 2), "cpu": (1, 1)}
    assert engine.at_once == 2 * 8 + 2 * 2 + 1


def test_tf32_beside_fp32_is_refused_because_torch_has_one_switch(serve, light, cards):
    lazy = {"loading": "lazy", "device": "cuda"}
    serve(entry("a", light / "half", **lazy), entry("b", light / "half", dtype="bfloat16", **lazy))
    serve(entry("a", light / "half", dtype="tf32", **lazy), entry("b", light / "half", dtype="half", **lazy))
    with pytest.raises(ModelNotLoaded, match=r"^b cannot be loaded.*tf32 and a in fp32.*worker of its own"):
        serve(entry("a", light / "half", **lazy), entry("b", light / "half", dtype="tf32", **lazy))
