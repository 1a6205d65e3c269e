import pytest
import torch

from shared.errors import SettingsError
from shared.settings import Settings
from worker.backends.numba.backend import NumbaBackend
from worker.engine.load import load_engine
from worker.engine.placing import model_threads
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
