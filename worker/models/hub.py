"""Where the checkpoint files come from, in order: a local folder, the hub's cache, the hub."""

import logging
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from worker.models.errors import WeightsUnavailableError
from worker.models.files import FILES

log = logging.getLogger(__name__)

REPOSITORIES = ("jlmarrugom/voice_fixer", "cqchangm/voicefixer", "harmony-ai-solutions/voicefixer")
REACH_SECONDS = 3.0
"""How long the hub may take to answer at all, before two files are tried in three repositories."""


@dataclass(frozen=True)
class WeightsSource:
    """Where to look for checkpoints, and which to accept.

    `folder` may be None; `revision` is a branch, tag or commit of the repositories; `cache` is the hub client's
    own when None. `allow_other` accepts weights whose md5 is not the published one.
    """

    folder: Path | None = None
    repositories: tuple[str, ...] = REPOSITORIES
    revision: str | None = None
    cache: Path | None = None
    allow_other: bool = False


@dataclass(frozen=True)
class Place:
    """One source and the checkpoint files that it has."""

    name: str
    files: dict[str, Path]


def locate(source: WeightsSource) -> dict[str, Path | None]:
    """Where a worker would take each of the two files from, without asking the network."""
    return {file: place.files[file] if (place := _first_with(file, source)) else None for file in FILES}


def obtain(source: WeightsSource, file: str) -> Place:
    """The first place that has `file`; from the hub if neither the folder nor the cache has it.

    From the hub both files are taken, because the chain needs the vocoder's biases from `vf.ckpt`.
    Raises `WeightsUnavailableError`.
    """
    return _first_with(file, source) or _download(source, file)


def pull(source: WeightsSource) -> dict[str, Path]:
    """Make sure that both files are here, fetched into `folder` if one is given and else into the cache.

    Raises `WeightsUnavailableError`.
    """
    for place in _places(source) if source.folder is None else [_folder(source.folder)]:
        if set(FILES) <= set(place.files):
            return place.files
    place = _download(source, FILES[0], into=source.folder)
    if set(FILES) <= set(place.files):
        return place.files
    raise _unavailable(source, FILES[1], f"{place.name} does not have it")


def _first_with(file: str, source: WeightsSource) -> Place | None:
    return next((place for place in _places(source) if file in place.files), None)


def _places(source: WeightsSource) -> Iterator[Place]:
    if source.folder is not None:
        yield _folder(source.folder)
    for repository in source.repositories:
        found = {file: path for file in FILES if (path := _cached(source, repository, file))}
        yield Place(repository, found)


def _folder(folder: Path) -> Place:
    return Place(str(folder), {file: folder / file for file in FILES if (folder / file).is_file()})


def _cached(source: WeightsSource, repository: str, file: str) -> Path | None:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    path = try_to_load_from_cache(repository, file, cache_dir=source.cache, revision=source.revision)
    return Path(path) if isinstance(path, str) else None


def _download(source: WeightsSource, wanted: str, *, into: Path | None = None) -> Place:
    reason = _why_not_to_ask() if source.repositories else "nothing else is asked"
    if reason:
        raise _unavailable(source, wanted, reason)
    failures: dict[str, str] = {}
    for repository in source.repositories:
        place = Place(repository, {})
        for file in FILES:
            try:
                place.files[file] = _fetched(source, repository, file, into)
            except Exception as error:  # the client raises its own, its HTTP library's and the system's
                log.debug("could not fetch %s from %s", file, repository, exc_info=error)
                failures[repository] = _in_words(error)
        if wanted in place.files:
            return place
    tried = "; ".join(f"{repository}: {failure}" for repository, failure in failures.items())
    raise _unavailable(source, wanted, f"no repository gave it ({tried})")


def _fetched(source: WeightsSource, repository: str, file: str, into: Path | None) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(repository, file, revision=source.revision, cache_dir=source.cache, local_dir=into))


def _in_words(error: Exception) -> str:
    words = {
        "RepositoryNotFoundError": "no such repository, or not for you",
        "GatedRepoError": "needs a consent on the hub",
        "RevisionNotFoundError": "no such revision",
        "EntryNotFoundError": "no such file",
        "RemoteEntryNotFoundError": "no such file",
        "HFValidationError": "no name of a repository",
    }
    if isinstance(error, OSError) and error.strerror and type(error).__name__ not in words:
        return error.strerror
    return words.get(type(error).__name__, "the transfer failed")


def _why_not_to_ask() -> str:
    """Why the hub cannot be asked for files, or nothing if it can."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return "huggingface_hub is not installed"
    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return "HF_HUB_OFFLINE forbids asking the hub"
    return "" if _answers(constants.ENDPOINT) else "the hub cannot be reached from here"


def _answers(address: str) -> bool:
    """Whether any answer comes in time; in a thread, because looking up a name heeds no timeout."""
    heard = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(address, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=REACH_SECONDS).close()
        except urllib.error.HTTPError:
            pass  # a refusal is an answer too
        except (OSError, ValueError):
            return
        heard.set()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(REACH_SECONDS)
    return heard.is_set()


def _unavailable(source: WeightsSource, file: str, reason: str) -> WeightsUnavailableError:
    if not source.repositories:
        return WeightsUnavailableError(f"{file} is not in {source.folder or 'any folder'}: put it there.")
    if source.repositories != REPOSITORIES and source.folder is None:
        return WeightsUnavailableError(
            f"{file} of {', '.join(source.repositories)} is not in the hub's cache, and {reason}. Run "
            "`voicefixer-queue weights pull` with the same VFQ_CONFIG where there is a network, or name a folder that "
            "has it in place of the repository."
        )
    folder = source.folder or "a folder that the settings name"
    return WeightsUnavailableError(
        f"{file} is neither in {folder} nor in the hub's cache, and {reason}. Run `voicefixer-queue weights pull` "
        f"where there is a network, or put {' and '.join(FILES)} in {folder}."
    )
