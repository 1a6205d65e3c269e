"""Which models a worker loads, from its settings, and what is made ready before it takes work."""

import os
import time
from collections.abc import Collection

import structlog
import torch

from shared.errors import SettingsError
from shared.settings import Settings
from worker.backends.choose import choose_backend
from worker.backends.cuda import CudaBackend
from worker.chunks import Geometry
from worker.engine.engine import Engine
from worker.engine.usual import usual_items
from worker.heap import give_back
from worker.models.hub import WeightsSource
from worker.models.interface import Backend, Vocoder
from worker.models.plain import PlainBackend
from worker.models.registry import WEIGHT_FREE, load_restorer, load_vocoder
from worker.weights import weights_source

log = structlog.get_logger()

#: Backends whose models several threads may run at once.
_SHARED = ("cuda", "numba", "torch")
_CORES = 4
"""Cores from which on it is better that they compute several windows than one; and how many to leave to each."""
_MOST_WINDOWS = 4
"""At once on a CPU by default: each takes about a gigabyte."""


def load_engine(settings: Settings, stages: Collection[str]) -> Engine:
    """Load the models of *stages* before any work is taken, and say in the log what was loaded.

    Raises:
        ModelError: if a device is not there, or weights are missing or wrong; the message says what to do.
        SettingsError: if settings do not go together.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    weights = weights_source(settings)
    backend = choose_backend(
        settings.backend, device=settings.device, precision=settings.precision, weights=weights.folder
    )
    if not _has_networks(settings, stages):
        backend = PlainBackend(backend.device)
    threads = model_threads(settings, backend)
    engine = Engine(
        restorer=load_restorer(settings.restorer, weights=weights, backend=backend) if "restore" in stages else None,
        vocoder=_vocoder(settings, weights, backend) if "vocode" in stages else None,
        backend=backend,
        max_batch_size=settings.max_batch_size,
        max_wait_ms=settings.max_wait_ms,
        threads=threads,
    )
    give_back()
    described = {"backend": backend.name, "precision": backend.precision, "device": str(backend.device)}
    for stage in ("restore", "vocode"):
        if stage in stages:
            log.info("model loaded", stage=stage, model=engine.model_label(stage), **described, pid=os.getpid())
    if isinstance(backend, CudaBackend) and backend.device.type == "cuda":
        _warm_up(engine, backend, settings, stages)
    return engine


def model_threads(settings: Settings, backend: Backend) -> int:
    """How many batches are computed at once: two on a GPU, so that it never waits for the next; on a CPU one.

    Where there are many cores, and a backend whose models may be shared, there it is one for every four of them.

    Raises:
        SettingsError: if the backend's models are one thread's.
    """
    if settings.model_threads > 1 and backend.name not in _SHARED:
        raise SettingsError(
            f"VFQ_MODEL_THREADS above 1 needs one of the backends {', '.join(_SHARED)}, not {backend.name}; "
            "leave it out, or run more workers instead"
        )
    if settings.model_threads:
        return settings.model_threads
    if backend.device.type == "cuda":
        return 2
    return max(1, min(torch.get_num_threads() // _CORES, _MOST_WINDOWS)) if backend.name == "numba" else 1


def _has_networks(settings: Settings, stages: Collection[str]) -> bool:
    """Whether there is anything for a backend to run; models without weights are PyTorch's own."""
    models = {"restore": settings.restorer, "vocode": settings.vocoder}
    return any(models[stage] not in WEIGHT_FREE for stage in models if stage in stages)


def _warm_up(engine: Engine, backend: CudaBackend, settings: Settings, stages: Collection[str]) -> None:
    begun = time.monotonic()
    geometry = Geometry(settings.core_frames, settings.context_frames, settings.halo_frames)
    with backend.warming():
        engine.warm_up(usual_items(geometry, stages))
    log.info("models warmed up", seconds=round(time.monotonic() - begun, 1), max_batch_size=settings.max_batch_size)


def _vocoder(settings: Settings, weights: WeightsSource, backend: Backend) -> Vocoder:
    if settings.vocoder == "GriffinLimVocoder":
        from worker.models.griffin_lim import GriffinLimVocoder

        return GriffinLimVocoder(iterations=settings.griffin_lim_iterations, device=str(backend.device))
    return load_vocoder(settings.vocoder, weights=weights, backend=backend)
