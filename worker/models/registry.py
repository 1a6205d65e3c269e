"""The model types that a worker can serve, and how each is loaded. A type's module is imported when it is asked for."""

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any, cast

import torch

from worker.models.checkpoints import Checkpoint, open_checkpoint, vocoder_tensors
from worker.models.errors import DeviceUnavailableError, UnknownModelTypeError
from worker.models.files import RESTORER_FILE, VOCODER_FILE
from worker.models.hub import WeightsSource, obtain
from worker.models.interface import Backend, Restorer, Vocoder
from worker.models.plain import PlainBackend

RESTORERS = {
    "VoiceFixerRestorer": "worker.models.restorer",
    "SpectralGateRestorer": "worker.models.spectral_gate",
}
VOCODERS = {
    "VoiceFixerVocoder": "worker.models.vocoder",
    "GriffinLimVocoder": "worker.models.griffin_lim",
}
WEIGHT_FREE = frozenset({"SpectralGateRestorer", "GriffinLimVocoder"})


def load_restorer(model_type: str, *, weights: WeightsSource, backend: Backend | None = None) -> Restorer:
    """Load a restorer ready for inference. Raises `ModelError`: unknown type, device, weights or checkpoint."""
    kind = _kind(model_type, RESTORERS)
    backend = backend or PlainBackend()
    if model_type in WEIGHT_FREE:
        return cast(Restorer, kind(device=str(backend.device)))
    place = obtain(weights, RESTORER_FILE)
    checkpoint = open_checkpoint(place.files[RESTORER_FILE], RESTORER_FILE, allow_other=weights.allow_other)
    return cast(
        Restorer,
        kind.from_tensors(
            checkpoint.tensors,
            again=checkpoint.file.tensors,
            backend=backend,
            hashes=partial(_hashes, {RESTORER_FILE: checkpoint}, allow_other=weights.allow_other),
        ),
    )


def load_vocoder(model_type: str, *, weights: WeightsSource, backend: Backend | None = None) -> Vocoder:
    """Load a vocoder ready for inference; where `vf.ckpt` lies beside its file, its biases come from there.

    Raises `ModelError`: unknown type, device, weights or checkpoint.
    """
    kind = _kind(model_type, VOCODERS)
    backend = backend or PlainBackend()
    if model_type in WEIGHT_FREE:
        return cast(Vocoder, kind(device=str(backend.device)))
    place = obtain(weights, VOCODER_FILE)
    opened = {
        file: open_checkpoint(path, file, allow_other=weights.allow_other) for file, path in sorted(place.files.items())
    }
    tensors = vocoder_tensors(opened[VOCODER_FILE], opened.get(RESTORER_FILE))
    hashes = partial(_hashes, opened, allow_other=weights.allow_other)
    return cast(Vocoder, kind.from_tensors(tensors, backend=backend, hashes=hashes))


def _hashes(opened: Mapping[str, Checkpoint], *, allow_other: bool) -> dict[str, str]:
    return {file: checkpoint.verified(allow_other=allow_other) for file, checkpoint in opened.items()}


def resolve_device(device: str) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:N` → a device that is here. Raises `DeviceUnavailableError`."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = device.partition(":")
    if kind == "cpu" and not index:
        return device
    if kind != "cuda" or (index and not index.isdecimal()):
        raise DeviceUnavailableError(f"Device {device!r} is none of auto, cpu, cuda and cuda:N.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(index or 0) >= count:
        raise DeviceUnavailableError(f"Device {device!r} is not here: torch sees {count} CUDA devices.")
    return device


def _kind(model_type: str, known: dict[str, str]) -> Any:
    if model_type not in known:
        raise UnknownModelTypeError(f"{model_type!r} is none of {', '.join(known)}.")
    return getattr(import_module(known[model_type]), model_type)
