"""Which weights a model of the catalog takes; and their hashes, begun before torch is there."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from shared.catalog import ModelEntry
from shared.settings import Settings
from worker.models.digests import hash_ahead
from worker.models.errors import WeightsUnavailableError
from worker.models.files import FILES, RESTORER_FILE, VOCODER_FILE
from worker.models.hub import REPOSITORIES, WeightsSource

_BEGINS_A_PATH = ("/", "./", "../", "~")


def file_of(entry: ModelEntry) -> str:
    """Name the file without which a model cannot be loaded."""
    return RESTORER_FILE if entry.stage == "restore" else VOCODER_FILE


def weights_source(entry: ModelEntry, settings: Settings) -> WeightsSource:
    """Where to look for the weights of a model, and which to accept.

    A folder is asked alone; a repository of the hub too, but for one of those that hold the published files: they are
    the ones that `VFQ_WEIGHTS_DIR` has.

    Raises:
        WeightsUnavailableError: if they are said to lie in a folder that is not there.
    """
    usual = WeightsSource(
        folder=Path(settings.weights_dir) if settings.weights_dir else None,
        revision=entry.revision or settings.weights_revision,
        allow_other=settings.weights_unverified,
    )
    if entry.weights is None:
        return usual
    named = _at_home(entry.weights)
    if named.is_dir():
        return replace(usual, folder=named, repositories=())
    if entry.weights in (".", "..") or entry.weights.startswith(_BEGINS_A_PATH):
        what = "is a file" if named.exists() else "is not there"
        raise WeightsUnavailableError(
            f"{entry.weights} {what}: `model` takes the folder that holds {file_of(entry)}, or a repository of the hub "
            "(owner/name)."
        )
    folder = usual.folder if entry.weights in REPOSITORIES else None
    return replace(usual, folder=folder, repositories=(entry.weights,))


def hash_weights(entries: Iterable[ModelEntry], settings: Settings) -> None:
    """Begin to hash, in the background, what models are made of that are loaded before work is taken."""
    wanted: dict[WeightsSource, set[str]] = {}
    for entry in entries:
        if entry.needs_weights and not entry.lazy:
            try:
                source = weights_source(entry, settings)
            except WeightsUnavailableError:  # it is told when the model is loaded
                continue
            # Where the restorer's file lies beside the vocoder's, the vocoder takes its biases from there.
            wanted.setdefault(source, set()).update(FILES if entry.stage == "vocode" else (RESTORER_FILE,))
    for source, files in wanted.items():
        hash_ahead(source, _in_order(files))


def _at_home(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # nobody of that name lives here
        return Path(text)


def _in_order(files: Collection[str]) -> tuple[str, ...]:
    return tuple(file for file in FILES if file in files)
