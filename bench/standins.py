"""A model worker whose networks cost nothing: ``python -m bench.standins`` takes the product's place at its queues.

What is left is the way through the queue. These types are in no registry: the product cannot be told to use them.
"""

import sys
from collections.abc import Collection, Hashable, Sequence

import torch

from bench.signals import speech_like
from shared.settings import Settings, load_settings
from worker.engine import Engine, engine_of
from worker.main import run_worker
from worker.models.constants import HOP, N_MELS, SAMPLE_RATE, WINDOW
from worker.models.interface import MelSpan, RestoreCondition

STAGES = ("restore", "vocode")
_LONGEST_SECONDS = 60


class CostlessRestorer:
    """The same mel for every window: a view of one that was made at the start."""

    model_type = "CostlessRestorer"

    def __init__(self) -> None:
        self.weights: dict[str, str] = {}
        self._mel = torch.rand(_LONGEST_SECONDS * SAMPLE_RATE // HOP, N_MELS)

    def restore(self, padded: torch.Tensor, conditions: Sequence[RestoreCondition]) -> torch.Tensor:
        """See `worker.models.interface.Restorer`."""
        frames = (padded.shape[1] - WINDOW) // HOP + 1
        return self._mel[:frames].expand(len(conditions), 1, frames, N_MELS)


class CostlessVocoder:
    """The same speech-like samples for every window, so that an encoder meets what it would meet."""

    model_type = "CostlessVocoder"

    def __init__(self) -> None:
        self.weights: dict[str, str] = {}
        self._sound = torch.from_numpy(speech_like(_LONGEST_SECONDS * SAMPLE_RATE, 1))

    def shape_key(self, frames: int, span: MelSpan) -> Hashable:
        """See `worker.models.interface.Vocoder`."""
        return frames, span.stop - span.start

    def vocode(self, mel: torch.Tensor, spans: Sequence[MelSpan]) -> torch.Tensor:
        """See `worker.models.interface.Vocoder`."""
        samples = spans[0].stop - spans[0].start
        return self._sound[:samples].expand(len(mel), samples)


def costless_engine(settings: Settings, stages: Collection[str]) -> Engine:
    """Make the engine of the costless worker."""
    return engine_of(
        restorer=CostlessRestorer() if "restore" in stages else None,
        vocoder=CostlessVocoder() if "vocode" in stages else None,
        max_batch_size=settings.max_batch_size,
        max_wait_ms=settings.max_wait_ms,
    )


def main() -> None:
    """Serve both stages until SIGTERM."""
    run_worker(load_settings(), sys.argv[1:] or STAGES, load=costless_engine)


if __name__ == "__main__":
    main()
