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

log = logging.getLogger(__name__)

LIST = "files.json"
"""Of an entry: name → sha256 of its files."""

Models = dict[str, ov.Model]
Make = Callable[[], Models]


def cache_folder(beside: Path | None = None) -> Path:
    """Where converted networks are kept: beside the weights where that can be written, else in the user's cache."""
    if beside is not None and os.access(beside, os.W_OK):
        return beside / "openvino"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "voicefixer-queue" / "openvino"


class ModelCache:
    """A folder of entries, each a folder of models. Its files are mapped, not read: processes share their memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fetch(self, name: str, recipe: Mapping[str, object], make: Make) -> Models:
        """Read the models that were made after this recipe, or make and keep them.

        What is damaged is made anew. Of processes that need the same entry one makes it, the others wait. Where
        nothing can be written, the models are made each time, with a warning.
        """
        entry = self.folder / f"{name}-{_key(recipe)}"
        if _is_sound(entry):
            return _read(entry)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(entry.with_suffix(".lock")):
                if not _is_sound(entry):
                    _write(entry, make)
                return _read(entry)
        except OSError as error:
            log.warning("Converted networks cannot be kept in %s (%s): each start converts.", entry, error.strerror)
            return make()


def _key(recipe: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:24]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_sound(entry: Path) -> bool:
    try:
        listed = json.loads((entry / LIST).read_bytes())
        sound: bool = listed == {file: _sha256(entry / file) for file in listed}
    except (OSError, ValueError, TypeError):
        sound = False
    if not sound and entry.exists():
        log.warning("The converted networks in %s are damaged: they are made anew.", entry)
    return sound


def _write(entry: Path, make: Make) -> None:
    # Under the lock, so what another process left half-written is nobody's.
    unfinished = entry.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        for name, model in make().items():
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
    return {path.stem: core().read_model(path) for path in sorted(entry.glob("*.xml"))}
