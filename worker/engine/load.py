"""Loads the models of a worker: before it takes work, or each when it is asked for first."""

import os
import threading
import time
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import structlog
import torch

from shared.catalog import Catalog, ModelEntry, read_catalog
from shared.jobs import Stage
from shared.settings import Settings
from worker.backends.cuda import CudaBackend
from worker.chunks import Geometry
from worker.engine.engine import Engine
from worker.engine.explain import naming
from worker.engine.once import Once
from worker.engine.placing import Placing
from worker.engine.served import Served, serve_restorer, serve_vocoder
from worker.engine.usual import usual_items
from worker.heap import give_back
from worker.models.errors import ModelError
from worker.models.hub import WeightsSource, obtain
from worker.models.interface import Backend, Vocoder
from worker.models.registry import load_restorer, load_vocoder
from worker.weights import file_of, weights_source

log = structlog.get_logger()


def load_engine(settings: Settings, stages: Collection[str], catalog: Catalog | None = None) -> Engine:
    """Load the models of *stages*, but for those that wait until they are asked for; the log says what was loaded.

    Raises:
        ModelNotLoaded: if a device is not there, or weights are missing or wrong; the message says what to do.
        SettingsError: if settings do not go together.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    catalog = catalog or read_catalog(settings)
    loader = _Loader(settings, catalog, [stage for stage in catalog.stages() if stage in stages])
    try:
        loader.load_eager()
    except BaseException:
        loader.engine.close()
        raise
    return loader.engine


class _Loader:
    """Loads models, one at a time: they share the threads of a CPU, its memory, and torch's switches."""

    def __init__(self, settings: Settings, catalog: Catalog, stages: Collection[Stage]) -> None:
        self._settings = settings
        entries = [entry for stage in stages for entry in _default_first(catalog, stage)]
        loaded_for = _one_for_all_alike(entries)
        self._wanted = list(dict.fromkeys(loaded_for.values()))
        self._placing = Placing(settings, self._wanted)
        self._alone = threading.Lock()
        self._served = {entry: self._once(entry) for entry in self._wanted}
        by_stage = {
            stage: {entry.name: self._served[loaded_for[entry.name]] for entry in entries if entry.stage == stage}
            for stage in stages
        }
        self.engine = Engine(self._placing.devices, restorers=by_stage.get("restore"), vocoders=by_stage.get("vocode"))

    def load_eager(self) -> None:
        """Load all that is not to wait, then make it ready."""
        eager = [entry for entry in self._wanted if not entry.lazy]
        for entry in eager:
            self._served[entry].get()
        give_back()
        for entry in eager:
            self._warm_up(entry, self._served[entry].get())

    def _once(self, entry: ModelEntry) -> Once[Served[Any]]:
        return Once(lambda: self._load_now(entry) if entry.lazy else self._load(entry))

    def _load_now(self, entry: ModelEntry) -> Served[Any]:
        """Load a model that a job waits for."""

        def load() -> Served[Any]:
            served = self._load(entry)
            give_back()
            self._warm_up(entry, served)
            return served

        log.info("model is asked for and loaded now", name=entry.name, stage=entry.stage)
        try:
            # In a thread of its own: the helpers that loading gets on a CPU are a thread's, and go with it.
            with ThreadPoolExecutor(1, "load") as own:
                return own.submit(load).result()
        except ModelError as error:
            log.error(
                "model cannot be loaded; who waits for it fails", name=entry.name, code=error.code, reason=str(error)
            )
            raise

    def _load(self, entry: ModelEntry) -> Served[Any]:
        begun = time.monotonic()
        with naming(entry):
            source = weights_source(entry, self._settings)
            if entry.needs_weights:
                obtain(source, file_of(entry))  # what has to be fetched keeps no other model waiting
            with self._alone:
                backend, device = self._placing.backend(entry), self._placing.device(entry)
                served: Served[Any]
                if entry.stage == "restore":
                    restorer = load_restorer(entry.model_type, weights=source, backend=backend)
                    served = serve_restorer(restorer, backend, device, most=entry.max_batch_size)
                else:
                    vocoder = _vocoder(entry, self._settings, source, backend)
                    served = serve_vocoder(vocoder, backend, device, most=entry.max_batch_size)
                if backend.device.type == "cuda":
                    torch.cuda.synchronize(backend.device)  # model threads have streams of their own
        log.info(
            "model loaded",
            name=entry.name,
            stage=entry.stage,
            model=served.label,
            backend=backend.name,
            precision=backend.precision,
            device=str(backend.device),
            seconds=round(time.monotonic() - begun, 1),
            pid=os.getpid(),
        )
        return served

    def _warm_up(self, entry: ModelEntry, served: Served[Any]) -> None:
        backend, settings = self._placing.backend(entry), self._settings
        if not (isinstance(backend, CudaBackend) and backend.device.type == "cuda"):
            return
        begun = time.monotonic()
        geometry = Geometry(settings.core_frames, settings.context_frames, settings.halo_frames)
        with naming(entry), self._alone, backend.warming():
            served.warm_up(usual_items(geometry, (entry.stage,)))
        seconds = round(time.monotonic() - begun, 1)
        log.info("model warmed up", name=entry.name, seconds=seconds, max_batch_size=entry.max_batch_size)


def _default_first(catalog: Catalog, stage: Stage) -> list[ModelEntry]:
    default = catalog.default(stage)
    return [default, *(entry for entry in catalog.of(stage) if entry != default)]


def _one_for_all_alike(entries: Iterable[ModelEntry]) -> dict[str, ModelEntry]:
    """By name, the entry that is loaded for it: one for all that differ in their names and seeds alone.

    It waits until it is asked for only if all of them do.
    """
    entries = list(entries)
    first: dict[ModelEntry, ModelEntry] = {}
    for entry in entries:
        known = first.setdefault(_network(entry), entry)
        first[_network(entry)] = replace(known, lazy=known.lazy and entry.lazy)
    return {entry.name: first[_network(entry)] for entry in entries}


def _network(entry: ModelEntry) -> ModelEntry:
    return replace(entry, name="", seed=0, lazy=False)


def _vocoder(entry: ModelEntry, settings: Settings, weights: WeightsSource, backend: Backend) -> Vocoder:
    if entry.model_type == "GriffinLimVocoder":
        from worker.models.griffin_lim import GriffinLimVocoder

        return GriffinLimVocoder(iterations=settings.griffin_lim_iterations, device=str(backend.device))
    return load_vocoder(entry.model_type, weights=weights, backend=backend)
