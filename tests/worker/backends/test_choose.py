import pytest
import torch

from worker.backends.choose import choose_backend
from worker.backends.cuda import CudaBackend
from worker.models.errors import BackendUnavailableError, DeviceUnavailableError, PrecisionUnavailableError
from worker.models.plain import PlainBackend


@pytest.fixture
def no_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def card(monkeypatch):
    """One CUDA device as torch tells of it; the capability may be changed."""

    def show(capability):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA Test")

    show((9, 0))
    return show


@pytest.mark.parametrize(
    ("name", "device", "precision", "error", "advice"),
    [
        ("cuda", "auto", "fp32", DeviceUnavailableError, "torch sees 0 CUDA devices"),
        ("cuda", "cpu", "fp32", BackendUnavailableError, "leave one of them out"),
        ("auto", "cuda:1", "fp32", DeviceUnavailableError, "cuda:1"),
        ("auto", "auto", "fp16", PrecisionUnavailableError, "needs a CUDA device"),
        ("torch", "cpu", "tf32", PrecisionUnavailableError, "needs a CUDA device"),
        ("openvino", "cpu", "fp16", PrecisionUnavailableError, "take fp32 or bf16"),
        ("torch", "cpu", "bf16", PrecisionUnavailableError, "openvino"),
    ],
)
def test_what_does_not_go_together_on_a_cpu_is_refused_with_what_does(no_card, name, device, precision, error, advice):
    with pytest.raises(error, match=advice):
        choose_backend(name, device=device, precision=precision)


@pytest.mark.parametrize(
    ("name", "device", "precision", "error", "advice"),
    [
        ("openvino", "auto", "fp32", BackendUnavailableError, "VFQ_DEVICE=cpu"),
        ("numba", "cuda:0", "fp32", BackendUnavailableError, "VFQ_DEVICE=cpu"),
        ("torch", "cuda", "bf16", PrecisionUnavailableError, "take cuda or auto"),
        ("cuda", "cuda:1", "fp32", DeviceUnavailableError, "sees 1 CUDA"),
        ("cuda", "cpu", "bf16", BackendUnavailableError, "leave one of them out"),
    ],
)
def test_what_does_not_go_together_on_a_card_is_refused_with_what_does(card, name, device, precision, error, advice):
    with pytest.raises(error, match=advice):
        choose_backend(name, device=device, precision=precision)


def test_a_card_without_the_matrix_units_is_named(card):
    card((7, 5))
    for precision in ("tf32", "bf16"):
        with pytest.raises(PrecisionUnavailableError, match=r"NVIDIA Test.*fp16 or fp32"):
            choose_backend(precision=precision)
    assert choose_backend(precision="fp16").precision == "fp16"


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_a_card_runs_every_precision(card, precision):
    for name, device in (("auto", "auto"), ("cuda", "auto"), ("cuda", "cuda:0")):
        backend = choose_backend(name, device=device, precision=precision)
        assert isinstance(backend, CudaBackend)
        assert (backend.precision, backend.device.type) == (precision, "cuda")


def test_plain_pytorch_is_there_on_every_device(card, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    plain = choose_backend("torch")
    assert isinstance(plain, PlainBackend)
    assert plain.device.type == "cuda"
    assert not torch.backends.cudnn.allow_tf32
    assert choose_backend("torch", device="cpu").device.type == "cpu"


def test_auto_takes_what_is_installed(monkeypatch):
    missing = {"numba"}
    monkeypatch.setattr("worker.backends.choose.find_spec", lambda name: None if name in missing else name)
    assert choose_backend("auto", device="cpu").name == "openvino"
    with pytest.raises(BackendUnavailableError, match="numba"):
        choose_backend("numba", device="cpu")
    missing.clear()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert choose_backend("auto", device="cpu").name == "openvino"
    missing |= {"numba"}
    missing.add("openvino")
    assert choose_backend("auto", device="cpu").name == "torch"
