"""One loaded model as a worker serves it: on its device, in batches of at most so many windows."""

import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from typing import Generic, Protocol, TypeVar

from worker.engine.devices import Device
from worker.engine.items import Floats, RestoreItem, VocodeItem
from worker.models.interface import Backend, Restorer, Vocoder
from worker.models.plain import PlainBackend

Item = TypeVar("Item")
Asked = TypeVar("Asked", contravariant=True)


class Runner(Protocol[Asked]):
    """A model with its place: what makes a batch, and what runs it."""

    def key(self, item: Asked) -> Hashable:
        """Items whose keys are equal may share a batch."""
        ...

    def run(self, items: Sequence[Asked]) -> list[Floats]:
        """Compute a batch of equal keys, on a model thread."""
        ...


class Served(Generic[Item]):
    """A loaded model, its device and its batches.

    Attributes:
        device: where its batches are computed, beside those of other models.
        label: type, the sha256 of each weights file or `-`, backend, precision and device, as records have it.
    """

    def __init__(self, runner: Runner[Item], device: Device, *, most: int, label: str) -> None:
        """Serve it in batches of at most so many."""
        self.device = device
        self.label = label
        self._runner = runner
        self._most = most

    def compute(self, items: Sequence[Item]) -> list[Floats]:
        """Compute items, each in a batch with others of its shape that are there; raises what the model raises."""
        requests = [(self._key(item), self._runner.run, item) for item in items]
        futures = self.device.batcher.submit(requests, most=self._most)
        return [future.result() for future in futures]

    def warm_up(self, items: Sequence[Item]) -> None:
        """Compute batches of each item, of every usual size, on every model thread of its device.

        A size that does not fit into memory is found out here. Raises `ModelError`.
        """
        run: Callable[..., list[Floats]] = self._runner.run
        for item in items:
            for size in usual_sizes(self._most):
                self.device.batcher.run_on_every_thread(self._key(item), run, [item] * size)

    def _key(self, item: Item) -> Hashable:
        return self, self._runner.key(item)  # no batch mixes models


def serve_restorer(model: Restorer, backend: Backend, device: Device, *, most: int) -> Served[RestoreItem]:
    """Serve a restorer that was loaded for *backend*."""
    return Served(_Restoring(model, device), device, most=most, label=label_of(model, backend))


def serve_vocoder(model: Vocoder, backend: Backend, device: Device, *, most: int) -> Served[VocodeItem]:
    """Serve a vocoder that was loaded for *backend*."""
    return Served(_Vocoding(model, device), device, most=most, label=label_of(model, backend))


def label_of(model: Restorer | Vocoder, backend: Backend) -> str:
    """Name a model as records have it."""
    hashes = [value for _, value in sorted(model.weights.items())]
    weights = f"sha256:{'+'.join(hashes)}" if hashes else "-"
    # Models without weights have no networks for a backend to run.
    by = backend if hashes else PlainBackend(backend.device)
    return f"{model.model_type} {weights} {by.name} {by.precision} {by.device}"


def usual_sizes(most: int) -> list[int]:
    """The sizes of batches that are made ready: the largest, then the powers of two below it."""
    powers = [2**power for power in reversed(range(most.bit_length())) if 2**power < most]
    return [most, *powers]


class _Restoring:
    def __init__(self, model: Restorer, device: Device) -> None:
        self._model, self._place = model, device.place
        # Mode 2 draws from one generator of the model's.
        self._drawing = threading.Lock()

    def key(self, item: RestoreItem) -> Hashable:
        return len(item.padded)

    def run(self, items: Sequence[RestoreItem]) -> list[Floats]:
        conditions = [item.condition for item in items]
        drawn = any(condition.mode == 2 for condition in conditions)
        with self._drawing if drawn else nullcontext():
            mel = self._model.restore(self._place.upload([item.padded for item in items]), conditions)
        return list(self._place.download(mel)[:, 0])


class _Vocoding:
    def __init__(self, model: Vocoder, device: Device) -> None:
        self._model, self._place = model, device.place

    def key(self, item: VocodeItem) -> Hashable:
        return self._model.shape_key(len(item.mel), item.span)

    def run(self, items: Sequence[VocodeItem]) -> list[Floats]:
        mel = self._place.upload([item.mel for item in items])[:, None]
        return list(self._place.download(self._model.vocode(mel, [item.span for item in items])))
