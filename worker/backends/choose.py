"""Which backend runs the networks, by device, by what is installed and by what the operator asks for."""

import torch

from worker.models.errors import DeviceUnavailableError
from worker.models.interface import Backend, Precision
from worker.models.plain import PlainBackend
from worker.models.registry import resolve_device


def choose_backend(name: str = "auto", *, device: str = "auto", precision: Precision = "fp32") -> Backend:
    """Find the backend called `name`, or the fastest one there is for the device.

    Raises `DeviceUnavailableError`: a device that is not here.
    """
    target = resolve_device(device)
    if name not in ("auto", "torch") or precision != "fp32":
        raise DeviceUnavailableError(f"Backend {name!r} in {precision} is not here.")
    if target.startswith("cuda"):
        # fp32 is to be what it says: by default cuDNN convolves in TF32, with 10 bits of mantissa.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    return PlainBackend(target)
