"""Which backend each model computes with, on which device, and how many model threads a device has."""

from collections.abc import Iterable, Sequence

import torch

from shared.catalog import ModelEntry
from shared.errors import SettingsError
from shared.settings import Settings
from worker.backends.choose import choose_backend
from worker.engine.devices import Device, Devices, name_of
from worker.engine.explain import naming
from worker.models.errors import ModelNotLoaded, PrecisionUnavailableError
from worker.models.interface import Backend
from worker.models.plain import PlainBackend
from worker.weights import weights_source

#: Backends whose models several threads may run at once.
_SHARED = ("cuda", "numba", "torch")
_CORES = 4
"""Cores from which on it is better that they compute several windows than one; and how many to leave to each."""
_MOST_WINDOWS = 4
"""At once on a CPU by default: each takes about a gigabyte."""


class Placing:
    """The devices of a worker, and which model computes on which.

    All of it is settled before models are loaded, but for those that wait until they are asked for and whose device,
    precision or folder is not here: they are placed then, or fail.

    Attributes:
        devices: those that are open.
    """

    def __init__(self, settings: Settings, entries: Iterable[ModelEntry]) -> None:
        """Place models. Raises `ModelNotLoaded` and `SettingsError`."""
        self.devices = Devices(max_wait_ms=settings.max_wait_ms)
        self._settings = settings
        self._backends: dict[ModelEntry, Backend] = {}
        for entry in entries:
            try:
                self.backend(entry)
            except ModelNotLoaded:
                if not entry.lazy:
                    raise
        self._refuse_two_switches()
        together: dict[str, list[ModelEntry]] = {}
        for entry, backend in self._backends.items():
            together.setdefault(name_of(backend.device), []).append(entry)
        for those in together.values():
            self._open(those)

    def backend(self, entry: ModelEntry) -> Backend:
        """Give what a model computes with: of its own on a GPU, where much is made ready for one network alone."""
        if entry not in self._backends:
            with naming(entry):
                self._backends[entry] = self._shared(self._choose(entry))
        return self._backends[entry]

    def device(self, entry: ModelEntry) -> Device:
        """Give the device that a model computes on."""
        self.backend(entry)
        return self._open([entry])

    def _choose(self, entry: ModelEntry) -> Backend:
        backend = choose_backend(
            self._settings.backend,
            device=entry.device,
            precision=entry.precision,
            weights=weights_source(entry, self._settings).folder,
        )
        # Models without weights have no networks for a backend to run; they are PyTorch's own.
        return backend if entry.needs_weights else PlainBackend(backend.device)

    def _shared(self, backend: Backend) -> Backend:
        """The kernels of a CPU bring threads and memory to work in, which are for all models."""
        known = (one for one in self._backends.values() if one.name == backend.name == "numba")
        return next(known, backend)

    def _open(self, entries: Sequence[ModelEntry]) -> Device:
        backends = [self._backends[entry] for entry in entries]
        networks = [self._backends[entry] for entry in entries if entry.needs_weights]
        return self.devices.open(
            backends[0].device,
            threads=min(model_threads(self._settings, backend) for backend in networks or backends),
            most=max(entry.max_batch_size for entry in entries),
        )

    def _refuse_two_switches(self) -> None:
        on_cuda = {backend.precision: entry for entry, backend in self._backends.items() if backend.name == "cuda"}
        if {"fp32", "tf32"} <= set(on_cuda):
            with naming(on_cuda["tf32"]):
                raise PrecisionUnavailableError(
                    f"It computes in tf32 and {on_cuda['fp32'].name} in fp32, and PyTorch has one switch for both: "
                    "take one of the two, or give each a worker of its own."
                )


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
