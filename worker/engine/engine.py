"""The models of a worker by name, behind two calls that speak numpy."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from shared.catalog import RESTORER, VOCODER
from shared.jobs import Stage
from worker.engine.devices import Devices
from worker.engine.items import Floats, RestoreItem, VocodeItem
from worker.engine.once import Once
from worker.engine.places import Place
from worker.engine.served import Served, serve_restorer, serve_vocoder
from worker.models.errors import ModelError, ModelNotServed
from worker.models.interface import Backend, Restorer, Vocoder
from worker.models.plain import PlainBackend

Restorers = Mapping[str, Once[Served[RestoreItem]]]
Vocoders = Mapping[str, Once[Served[VocodeItem]]]


class OutputError(ModelError):
    """A model gave what cannot be used."""

    code = "model_output_invalid"


class Engine:
    """Runs the models of the stages that a worker serves, on the model threads of their devices.

    Where a call names no model it means the first of the stage. A model that is not loaded yet is loaded by whoever
    asks first, while others who ask for it wait.
    """

    def __init__(
        self, devices: Devices, *, restorers: Restorers | None = None, vocoders: Vocoders | None = None
    ) -> None:
        """Serve models on devices that are open."""
        self._devices = devices
        self._restorers = restorers or {}
        self._vocoders = vocoders or {}

    def coming(self, stage: Stage, model: str | None = None) -> AbstractContextManager[None]:
        """Say that this thread reads what it will ask of a model; a batch of that device waits a little for it.

        The model is loaded before. Raises `ModelError`.
        """
        return self._served(stage, model).device.batcher.coming()

    def restore(self, items: Sequence[RestoreItem], model: str | None = None) -> list[Floats]:
        """Restore windows; a mel `[F, 128]` float32 for each, finite and not negative. Raises `ModelError`."""
        mels = _find(self._restorers, "restore", model).compute(items)
        if not all(np.isfinite(mel).all() and (mel >= 0).all() for mel in mels):
            raise OutputError("the restorer made a mel with NaN, infinite or negative numbers of this recording")
        return mels

    def vocode(self, items: Sequence[VocodeItem], model: str | None = None) -> list[Floats]:
        """Vocode windows; samples `[stop − start]` float32 for each, finite. Raises `ModelError`."""
        windows = _find(self._vocoders, "vocode", model).compute(items)
        if not all(np.isfinite(window).all() for window in windows):
            raise OutputError("the vocoder made samples that are NaN or infinite of this recording's mel")
        return windows

    def warm_up(self, items: Sequence[RestoreItem | VocodeItem]) -> None:
        """Let the first models compute batches of each item, of every usual size, on every model thread.

        Raises `ModelError`.
        """
        for item in items:
            if isinstance(item, RestoreItem):
                _find(self._restorers, "restore", None).warm_up([item])
            else:
                _find(self._vocoders, "vocode", None).warm_up([item])

    def model_label(self, stage: Stage, model: str | None = None) -> str:
        """Name a model, the sha256 of each weights file or `-`, and its backend, precision and device."""
        return self._served(stage, model).label

    @property
    def at_once(self) -> int:
        """How many windows are computed at once on all devices, if there are enough."""
        return self._devices.at_once

    def busy_seconds(self) -> float:
        """Tell for how long the oldest batch in hand has been running; 0 if there is none."""
        return self._devices.busy_seconds()

    def alive(self) -> bool:
        """Tell whether all model threads run."""
        return self._devices.alive()

    def close(self) -> None:
        """Finish what was begun and end the model threads."""
        self._devices.close()

    def _served(self, stage: Stage, model: str | None) -> Served[Any]:
        return _find(self._restorers if stage == "restore" else self._vocoders, stage, model)


def engine_of(
    *,
    restorer: Restorer | None = None,
    vocoder: Vocoder | None = None,
    backend: Backend | None = None,
    max_batch_size: int = 1,
    max_wait_ms: float = 0.0,
    threads: int = 1,
    place: Place | None = None,
) -> Engine:
    """Make an engine of models that are at hand, loaded for *backend*; by default for PyTorch on a CPU."""
    by = backend or PlainBackend()
    devices = Devices(max_wait_ms=max_wait_ms)
    device = devices.open(by.device, threads=threads, most=max_batch_size, place=place)
    restorers: dict[str, Once[Served[RestoreItem]]] = {}
    vocoders: dict[str, Once[Served[VocodeItem]]] = {}
    if restorer is not None:
        restorers[RESTORER] = Once(lambda: serve_restorer(restorer, by, device, most=max_batch_size))
    if vocoder is not None:
        vocoders[VOCODER] = Once(lambda: serve_vocoder(vocoder, by, device, most=max_batch_size))
    return Engine(devices, restorers=restorers, vocoders=vocoders)


def _find(models: Mapping[str, Once[Served[Any]]], stage: Stage, name: str | None) -> Served[Any]:
    named = models.get(name) if name is not None else next(iter(models.values()), None)
    if named is None:
        raise ModelNotServed(stage, name)
    return named.get()
