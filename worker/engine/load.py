"""Which models a worker loads, from its settings."""

import os
from collections.abc import Collection
from pathlib import Path

import structlog
import torch

from shared.settings import Settings
from worker.backends.choose import choose_backend
from worker.engine.engine import Engine
from worker.models.hub import WeightsSource
from worker.models.interface import Backend, Vocoder
from worker.models.registry import load_restorer, load_vocoder

log = structlog.get_logger()


def load_engine(settings: Settings, stages: Collection[str]) -> Engine:
    """Load the models of *stages* before any work is taken, and say in the log what was loaded.

    Raises:
        ModelError: if a device is not there, or weights are missing or wrong; the message says what to do.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    backend = choose_backend(settings.backend, device=settings.device, precision=settings.precision)
    weights = WeightsSource(
        folder=Path(settings.weights_dir) if settings.weights_dir else None,
        revision=settings.weights_revision,
        allow_other=settings.weights_unverified,
    )
    engine = Engine(
        restorer=load_restorer(settings.restorer, weights=weights, backend=backend) if "restore" in stages else None,
        vocoder=_vocoder(settings, weights, backend) if "vocode" in stages else None,
        device=str(backend.device),
        max_batch_size=settings.max_batch_size,
        max_wait_ms=settings.max_wait_ms,
    )
    described = {"backend": backend.name, "precision": backend.precision, "device": str(backend.device)}
    for stage in ("restore", "vocode"):
        if stage in stages:
            log.info("model loaded", stage=stage, model=engine.model_label(stage), **described, pid=os.getpid())
    return engine


def _vocoder(settings: Settings, weights: WeightsSource, backend: Backend) -> Vocoder:
    if settings.vocoder == "GriffinLimVocoder":
        from worker.models.griffin_lim import GriffinLimVocoder

        return GriffinLimVocoder(iterations=settings.griffin_lim_iterations, device=str(backend.device))
    return load_vocoder(settings.vocoder, weights=weights, backend=backend)
