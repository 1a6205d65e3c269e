"""The models of a worker, loaded once, behind two calls that speak numpy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worker.engine.batcher import Batcher
from worker.models.errors import ModelError
from worker.models.interface import MelSpan, RestoreCondition, Restorer, Vocoder

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
    """Runs the models of the stages that a worker serves, on one thread, in batches of equal shape."""

    def __init__(
        self,
        *,
        restorer: Restorer | None = None,
        vocoder: Vocoder | None = None,
        device: str = "cpu",
        max_batch_size: int = 1,
        max_wait_ms: float = 0.0,
    ) -> None:
        self._restorer = restorer
        self._vocoder = vocoder
        self._device = torch.device(device)
        self.batcher = Batcher(max_batch_size=max_batch_size, max_wait_ms=max_wait_ms)

    def restore(self, items: Sequence[RestoreItem]) -> list[Floats]:
        """Restore windows; a mel `[F, 128]` float32 for each, finite and not negative. Raises `ModelError`."""
        futures = [
            future
            for item in items
            for future in self.batcher.submit(("restore", len(item.padded)), self._restore, [item])
        ]
        mels = [future.result() for future in futures]
        if not all(np.isfinite(mel).all() and (mel >= 0).all() for mel in mels):
            raise OutputError("the restorer made a mel with NaN, infinite or negative numbers of this recording")
        return mels

    def vocode(self, items: Sequence[VocodeItem]) -> list[Floats]:
        """Vocode windows; samples `[stop − start]` float32 for each, finite. Raises `ModelError`."""
        assert self._vocoder is not None
        futures = [
            future
            for item in items
            for future in self.batcher.submit(
                ("vocode", self._vocoder.shape_key(len(item.mel), item.span)), self._vocode, [item]
            )
        ]
        windows = [future.result() for future in futures]
        if not all(np.isfinite(window).all() for window in windows):
            raise OutputError("the vocoder made samples that are NaN or infinite of this recording's mel")
        return windows

    def model_label(self, stage: str) -> str:
        """Name a stage's model and, if it has weights, the beginning of their sha256."""
        model = self._restorer if stage == "restore" else self._vocoder
        assert model is not None
        hashes = [value for _, value in sorted(model.weights.items())]
        return f"{model.model_type} sha256:{'+'.join(value[:12] for value in hashes)}" if hashes else model.model_type

    def close(self) -> None:
        """Finish what was begun and end the model thread."""
        self.batcher.close()

    def _restore(self, items: Sequence[RestoreItem]) -> list[Floats]:
        assert self._restorer is not None
        padded = torch.from_numpy(np.stack([item.padded for item in items])).to(self._device)
        mel = self._restorer.restore(padded, [item.condition for item in items])
        return list(_to_numpy(mel)[:, 0])

    def _vocode(self, items: Sequence[VocodeItem]) -> list[Floats]:
        assert self._vocoder is not None
        mel = torch.from_numpy(np.stack([item.mel for item in items]))[:, None].to(self._device)
        return list(_to_numpy(self._vocoder.vocode(mel, [item.span for item in items])))


def _to_numpy(tensor: torch.Tensor) -> Any:
    return tensor.to("cpu", torch.float32).numpy()
