"""Keeps converted networks as files: found by what they were made of, checked before use, whole or not there."""

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from worker.backends.openvino.library import core, ov
from worker.models.known import user_cache

log = logging.getLogger(__name__)

LIST = "files.json"
"""Of an entry: name → sha256 of its files."""

Models = dict[str, ov.Model]
Make = Callable[[], Models]


def cache_folders(beside: Path | None = None) -> list[Path]:
    """Where converted networks may be kept: beside the weights, where a folder of theirs is named, or the user's cache.

    The hub's cache is not ours to write into, so weights that lie there have none beside them.
    """
    folders = [beside / "openvino"] if beside is not None and os.access(beside, os.F_OK) else []
    cache = user_cache()
    return folders if cache is None else [*folders, cache / "openvino"]


class ModelCache:
    """Folders of entries, each a folder of models. Its files are mapped, not read: processes share their memory."""

    def __init__(self, *folders: Path) -> None:
        """Read from all of them, and keep in the first that can be written."""
        self.folders = folders

    def fetch(self, name: str, recipe: Mapping[str, object], make: Make) -> Models:
        """Read the models that were made after this recipe, or make and keep them.

        What is damaged is made anew. Of processes that need the same entry one makes it, the others wait. Where
        nothing can be written, the models are made each time, with a warning.
        """
        entries = [folder / f"{name}-{_key(recipe)}" for folder in self.folders]
        for entry in entries:
            if kept := _kept(entry):
                return kept
        models: Models = {}
        reasons = [] if entries else ["set XDG_CACHE_HOME or HOME to a folder"]
        for entry in entries:
            try:
                entry.parent.mkdir(parents=True, exist_ok=True)
                with _locked(entry.with_suffix(".lock")):
                    if kept := _kept(entry):
                        return kept
                    models = models or make()
                    _write(entry, models)
                    return _read(entry)
            except OSError as error:
                reasons.append(f"{entry.parent}: {error.strerror or type(error).__name__}")
        log.warning("Converted networks cannot be kept (%s): each start converts.", "; ".join(reasons))
        return models or make()


def _key(recipe: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:24]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _kept(entry: Path) -> Models:
    """What lies there if it is whole; nothing otherwise."""
    try:
        files = sorted(path.name for path in entry.iterdir())
    except OSError:  # nothing is there, or nothing that we may see
        return {}
    try:
        # Recomputed from what lies there, so that a list that lacks some of it is no sound one.
        if json.loads((entry / LIST).read_bytes()) == {file: _sha256(entry / file) for file in files if file != LIST}:
            return _read(entry)
    except (OSError, ValueError, RecursionError) as error:
        log.debug("%s is damaged", entry, exc_info=error)
    log.warning("The converted networks in %s are damaged: they are made anew.", entry)
    return {}


def _write(entry: Path, models: Models) -> None:
    # Under the lock, so what another process left half-written is nobody's.
    unfinished = entry.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        for name, model in models.items():
            _save(model, unfinished / f"{name}.xml")
        listed = {path.name: _sha256(path) for path in sorted(unfinished.iterdir())}
        (unfinished / LIST).write_text(json.dumps(listed))
        if entry.exists():
            shutil.rmtree(entry)
        unfinished.rename(entry)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _save(model: ov.Model, path: Path) -> None:
    try:
        ov.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:  # the library's only one; here it stands for a disk that is full
        log.debug("openvino could not write %s", path, exc_info=error)
        raise OSError(None, "the disk may be full") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(entry: Path) -> Models:
    try:
        return {path.stem: core().read_model(path) for path in sorted(entry.glob("*.xml"))}
    except RuntimeError as error:  # the library's only one
        log.debug("openvino could not read %s", entry, exc_info=error)
        raise OSError(None, "the library cannot read what it wrote") from None
