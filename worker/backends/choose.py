"""Which backend runs the networks, by device, by what is installed and by what the operator asks for."""

from importlib.util import find_spec
from pathlib import Path

import torch

from worker.models.errors import BackendUnavailableError, PrecisionUnavailableError
from worker.models.interface import Backend, Precision
from worker.models.plain import PlainBackend
from worker.models.registry import resolve_device

AMPERE = (8, 0)
"""The compute capability from which on a card computes in TF32 and bf16."""


def choose_backend(
    name: str = "auto", *, device: str = "auto", precision: Precision = "fp32", weights: Path | None = None
) -> Backend:
    """Find the backend called `name`, or the fastest one there is for the device.

    What it makes of weights, and keeps, lies beside them if their folder `weights` can be written.
    Raises `DeviceUnavailableError`, `BackendUnavailableError` or `PrecisionUnavailableError`: what is not here, or does
    not go together; the message says what does.
    """
    target = resolve_device("cuda" if name == "cuda" and device == "auto" else device)
    if target.startswith("cuda"):
        return _on_cuda(name, target, precision)
    if name == "cuda":
        raise BackendUnavailableError("VFQ_BACKEND=cuda does not run on VFQ_DEVICE=cpu: leave one of them out.")
    if precision in ("tf32", "fp16"):
        raise PrecisionUnavailableError(
            f"VFQ_PRECISION={precision} needs a CUDA device, and this worker computes on a CPU: take fp32 or bf16."
        )
    return _on_cpu(name, precision, weights)


def _on_cpu(name: str, precision: Precision, weights: Path | None) -> Backend:
    if name == "auto":
        name = _fastest_here(precision)
    if name == "openvino":
        from worker.backends.openvino.backend import OpenVINOBackend

        return OpenVINOBackend(precision=precision, beside=weights)
    if name == "numba":
        if not _installed("numba"):
            raise BackendUnavailableError("VFQ_BACKEND=numba needs the package numba: install it, or take auto.")
        from worker.backends.numba.backend import NumbaBackend

        return NumbaBackend(precision=precision)
    if precision != "fp32":
        raise PrecisionUnavailableError(
            f"PyTorch runs in fp32 on a CPU, not in {precision}: take VFQ_BACKEND=openvino."
        )
    return PlainBackend()


def _fastest_here(precision: Precision) -> str:
    # Without fused multiplications and additions, each one is a call.
    if precision == "fp32" and _installed("numba") and torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return "numba"
    return "openvino" if precision != "fp32" or _installed("openvino") else "torch"


def _installed(*packages: str) -> bool:
    return all(find_spec(package) is not None for package in packages)


def _on_cuda(name: str, device: str, precision: Precision) -> Backend:
    if name not in ("auto", "cuda", "torch"):
        raise BackendUnavailableError(f"VFQ_BACKEND={name} runs on a CPU alone: take VFQ_DEVICE=cpu with it, or auto.")
    if name == "torch" and precision != "fp32":
        raise PrecisionUnavailableError(f"VFQ_BACKEND=torch runs in fp32 alone: take cuda or auto for {precision}.")
    capability = torch.cuda.get_device_capability(device)
    if precision in ("tf32", "bf16") and capability < AMPERE:
        raise PrecisionUnavailableError(
            f"{torch.cuda.get_device_name(device)} has no matrix units for {precision}: take fp16 or fp32."
        )
    if name == "torch":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        return PlainBackend(device)
    from worker.backends.cuda import CudaBackend

    return CudaBackend(device, precision)
