"""Which models a worker loads, from its settings."""

import os
from collections.abc import Collection

import structlog
import torch

from shared.errors import SettingsError
from shared.settings import Settings
from worker.engine.engine import Engine
from worker.models.registry import WeightsSource, load_restorer, load_vocoder

log = structlog.get_logger()


def load_engine(settings: Settings, stages: Collection[str]) -> Engine:
    """Load the models of *stages* before any work is taken, and say in the log what was loaded.

    Raises:
        ModelError: if weights are missing or wrong; the message says what to do.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = pick_device(settings.device)
    source = WeightsSource(
        folder=settings.weights_dir, revision=settings.weights_revision, allow_unverified=settings.weights_unverified
    )
    options = {"griffin_lim_iterations": settings.griffin_lim_iterations}
    engine = Engine(
        restorer=load_restorer(settings.restorer, weights=source, device=device) if "restore" in stages else None,
        vocoder=load_vocoder(settings.vocoder, weights=source, device=device, **options)
        if "vocode" in stages
        else None,
        device=device,
        max_batch_size=settings.max_batch_size,
        max_wait_ms=settings.max_wait_ms,
    )
    for stage in ("restore", "vocode"):
        if stage in stages:
            log.info("model loaded", stage=stage, model=engine.model_label(stage), device=device, pid=os.getpid())
    return engine


def pick_device(device: str) -> str:
    """Resolve `auto` to the GPU if there is one.

    Raises:
        SettingsError: if a GPU is asked for that is not there.
    """
    count = torch.cuda.device_count()
    if device == "auto":
        return "cuda" if count else "cpu"
    _, _, number = device.partition(":")
    if device != "cpu" and int(number or 0) >= count:
        raise SettingsError(f"VFQ_DEVICE is {device}, but torch sees {count} GPUs here; set it to auto or cpu")
    return device
