"""The models of a worker, loaded once, behind two calls that speak numpy."""

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from worker.engine.batcher import Batcher
from worker.engine.places import Cuda, Host, Place
from worker.models.errors import ModelError
from worker.models.interface import Backend, MelSpan, RestoreCondition, Restorer, Vocoder
from worker.models.plain import PlainBackend

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class RestoreItem:
    """One channel of a restorer window.

    Attributes:
        padded: samples `[441·(F−1) + 2048]` float32, 1,024 more on each side than the frames' centres.
        condition: mode, seed and noise profile.
    """

    padded: Floats
    condition: RestoreCondition


@dataclass(frozen=True)
class VocodeItem:
    """One channel of a vocoder window.

    Attributes:
        mel: `[t, 128]` float32.
        span: where it lies and which samples are wanted.
    """

    mel: Floats
    span: MelSpan


class OutputError(ModelError):
    """A model gave what cannot be used."""

    code = "model_output_invalid"


class Engine:
    """Runs the models of the stages that a worker serves, on its model threads, in batches of equal shape."""

    def __init__(
        self,
        *,
        restorer: Restorer | None = None,
        vocoder: Vocoder | None = None,
        backend: Backend | None = None,
        max_batch_size: int = 1,
        max_wait_ms: float = 0.0,
        threads: int = 1,
        place: Place | None = None,
    ) -> None:
        """Serve models that were loaded for *backend*, by default PyTorch on a CPU, on so many model threads."""
        self._restorer = restorer
        self._vocoder = vocoder
        self._backend = backend or PlainBackend()
        self._place = place or place_of(self._backend.device, model_threads=threads)
        # Mode 2 draws from one generator.
        self._drawing = threading.Lock()
        self.max_batch_size = max_batch_size
        self.batcher = Batcher(
            max_batch_size=max_batch_size, max_wait_ms=max_wait_ms, threads=threads, place=self._place
        )

    def coming(self) -> AbstractContextManager[None]:
        """Say that this thread reads what it will ask for; a batch waits a little for it."""
        return self.batcher.coming()

    def restore(self, items: Sequence[RestoreItem]) -> list[Floats]:
        """Restore windows; a mel `[F, 128]` float32 for each, finite and not negative. Raises `ModelError`."""
        futures = self.batcher.submit((("restore", len(item.padded)), self._restore, item) for item in items)
        mels: list[Floats] = [future.result() for future in futures]
        if not all(np.isfinite(mel).all() and (mel >= 0).all() for mel in mels):
            raise OutputError("the restorer made a mel with NaN, infinite or negative numbers of this recording")
        return mels

    def vocode(self, items: Sequence[VocodeItem]) -> list[Floats]:
        """Vocode windows; samples `[stop − start]` float32 for each, finite. Raises `ModelError`."""
        futures = self.batcher.submit((self._vocoder_key(item), self._vocode, item) for item in items)
        windows: list[Floats] = [future.result() for future in futures]
        if not all(np.isfinite(window).all() for window in windows):
            raise OutputError("the vocoder made samples that are NaN or infinite of this recording's mel")
        return windows

    def warm_up(self, items: Sequence[RestoreItem | VocodeItem]) -> None:
        """Compute batches of each item, of every usual size, on every model thread, before work is taken.

        A size that does not fit into memory is found out here. Raises `ModelError`.
        """
        for item in items:
            if isinstance(item, RestoreItem):
                key, run = ("restore", len(item.padded)), self._restore
            else:
                key, run = self._vocoder_key(item), self._vocode  # type: ignore[assignment]
            for size in usual_sizes(self.max_batch_size):
                self.batcher.run_on_every_thread(key, run, [item] * size)

    def model_label(self, stage: str) -> str:
        """Name a stage's model, the sha256 of each weights file or `-`, and its backend, precision and device."""
        model = self._restorer if stage == "restore" else self._vocoder
        assert model is not None
        hashes = [value for _, value in sorted(model.weights.items())]
        weights = f"sha256:{'+'.join(hashes)}" if hashes else "-"
        # Models without weights have no networks for a backend to run.
        backend = self._backend if hashes else PlainBackend(self._backend.device)
        return f"{model.model_type} {weights} {backend.name} {backend.precision} {backend.device}"

    def close(self) -> None:
        """Finish what was begun and end the model threads."""
        self.batcher.close()

    def _vocoder_key(self, item: VocodeItem) -> tuple[object, ...]:
        assert self._vocoder is not None
        return "vocode", self._vocoder.shape_key(len(item.mel), item.span)

    def _restore(self, items: Sequence[RestoreItem]) -> list[Floats]:
        assert self._restorer is not None
        conditions = [item.condition for item in items]
        drawn = any(condition.mode == 2 for condition in conditions)
        with self._drawing if drawn else nullcontext():
            mel = self._restorer.restore(self._place.upload([item.padded for item in items]), conditions)
        return list(self._place.download(mel)[:, 0])

    def _vocode(self, items: Sequence[VocodeItem]) -> list[Floats]:
        assert self._vocoder is not None
        mel = self._place.upload([item.mel for item in items])[:, None]
        return list(self._place.download(self._vocoder.vocode(mel, [item.span for item in items])))


def place_of(device: torch.device, *, model_threads: int = 1) -> Place:
    """The place for a device; on a CPU several model threads share the cores."""
    if device.type == "cuda":
        return Cuda(device)
    return Host(threads=max(1, torch.get_num_threads() // model_threads) if model_threads > 1 else 0)


def usual_sizes(most: int) -> list[int]:
    """The sizes of batches that are made ready: the largest, then the powers of two below it."""
    powers = [2**power for power in reversed(range(most.bit_length())) if 2**power < most]
    return [most, *powers]
