"""Which weights a worker takes, by its settings; and their hashes, begun before torch is there."""

from collections.abc import Collection
from pathlib import Path

from shared.settings import Settings
from worker.models.digests import hash_ahead
from worker.models.files import FILES, RESTORER_FILE
from worker.models.hub import WeightsSource


def weights_source(settings: Settings) -> WeightsSource:
    """Where to look for weights, and which to accept."""
    return WeightsSource(
        folder=Path(settings.weights_dir) if settings.weights_dir else None,
        revision=settings.weights_revision,
        allow_other=settings.weights_unverified,
    )


def hash_weights(settings: Settings, stages: Collection[str]) -> None:
    """Begin to hash, in the background, what the models of *stages* are made of."""
    if "vocode" in stages and settings.vocoder == "VoiceFixerVocoder":
        hash_ahead(weights_source(settings), FILES)
    elif "restore" in stages and settings.restorer == "VoiceFixerRestorer":
        hash_ahead(weights_source(settings), (RESTORER_FILE,))
