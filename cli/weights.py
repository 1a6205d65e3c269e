"""VoiceFixer's weights on this machine: which files a worker would take, whether they are right, how they get here."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.errors import WeightsMissing
from cli.output import emit, say, tell
from shared.catalog import RESTORER, VOCODER, ModelEntry, read_catalog
from shared.settings import Settings, load_settings

if TYPE_CHECKING:  # torch is behind it
    from worker.models.checkpoints import Verdict
    from worker.models.hub import WeightsSource


def missing(settings: Settings) -> list[str]:
    """Files that models need at a worker's start and that are not on this machine; nothing is fetched.

    Raises:
        WeightsMissing: if a model's folder is not there.
    """
    eager = [entry for entry in read_catalog(settings).entries if entry.needs_weights and not entry.lazy]
    return [label for label, path in _located(eager, settings).items() if path is None]


def require(settings: Settings) -> None:
    """See that a worker will find the weights that it loads at its start.

    Raises:
        WeightsMissing: says how to get them, and how to do without.
    """
    if files := missing(settings):
        raise _not_here(files, settings)


def fetch(settings: Settings) -> list[Path]:
    """Get the weights from the hub if they are not here, also those of models that wait until they are asked for.

    Raises:
        WeightsMissing: if they cannot be had.
    """
    from worker.models.errors import WeightsUnavailableError
    from worker.models.hub import REPOSITORIES, obtain, pull
    from worker.weights import file_of

    found: dict[Path, None] = {}
    for entry in _with_weights(settings):
        source = _source(entry, settings)
        try:
            if set(source.repositories) & set(REPOSITORIES):  # each of these has both files
                found |= dict.fromkeys(pull(source).values())
            else:
                found[obtain(source, file_of(entry)).files[file_of(entry)]] = None
        except WeightsUnavailableError as error:
            raise WeightsMissing(f"{_of(entry, settings)}{error}") from None
    return list(found)


def run_pull(folder: Path | None, revision: str | None, config: Path | None, *, as_json: bool) -> None:
    """Fetch the weights and check them."""
    settings = _settings(folder, revision, config)
    say("Looking for VoiceFixer's weights (about 1 GB if they have to be fetched; CC-BY-4.0).")
    _report(fetch(settings), as_json=as_json)


def run_verify(folder: Path | None, revision: str | None, config: Path | None, *, as_json: bool) -> None:
    """Check the files that a worker would take; those of *folder* alone if one is given."""
    from worker.models.files import FILES

    if folder is not None:
        _report([folder / file for file in FILES], as_json=as_json)
        return
    settings = _settings(None, revision, config)
    found = _located(_with_weights(settings), settings)
    if absent := [file for file, path in found.items() if path is None]:
        raise _not_here(absent, settings)
    _report(list(dict.fromkeys(path for path in found.values() if path)), as_json=as_json)


def run_where(folder: Path | None, revision: str | None, config: Path | None, *, as_json: bool) -> None:
    """Show which file each model would be loaded from; exit status 1 if one is missing."""
    settings = _settings(folder, revision, config)
    found = _located(_with_weights(settings), settings)
    if as_json:
        emit({"files": {file: str(path) if path else None for file, path in found.items()}})
    else:
        for file, path in found.items():
            tell(f"{file}: {path or 'not on this machine'}")
    if None in found.values():
        raise SystemExit(1)


def _report(files: Sequence[Path], *, as_json: bool) -> None:
    """Check files and say what was found; exit status 1 if one of them is not what was published."""
    from worker.models.checkpoints import verify

    checked = {verdict.path: verdict for folder in {path.parent for path in files} for verdict in verify(folder)}
    verdicts = [checked[path] for path in files]
    if as_json:
        emit({"ok": all(verdict.error is None for verdict in verdicts), "files": [_dump(one) for one in verdicts]})
    else:
        for verdict in verdicts:
            tell(f"{verdict.path}: {_in_words(verdict)}")
    wrong = [str(verdict.error) for verdict in verdicts if verdict.error]
    if wrong:
        say("\n".join(wrong))
        raise SystemExit(1)


def _in_words(verdict: "Verdict") -> str:
    if verdict.md5 is None:
        return "CANNOT BE READ"
    return f"{'published weights' if verdict.error is None else 'WRONG'} (md5 {verdict.md5})"


def _dump(verdict: "Verdict") -> dict[str, Any]:
    error = verdict.error and {"code": verdict.error.code, "message": str(verdict.error)}
    return {
        "file": verdict.file,
        "path": str(verdict.path),
        "md5": verdict.md5,
        "sha256": verdict.sha256,
        "error": error,
    }


def _with_weights(settings: Settings) -> list[ModelEntry]:
    """The models of a config.yml; without one VoiceFixer's two, whichever the settings choose."""
    if settings.config:
        return [entry for entry in read_catalog(settings).entries if entry.needs_weights]
    return [ModelEntry(RESTORER, "VoiceFixerRestorer"), ModelEntry(VOCODER, "VoiceFixerVocoder")]


def _located(entries: Iterable[ModelEntry], settings: Settings) -> dict[str, Path | None]:
    """Where the file without which a model cannot be loaded lies, by what it is called; nothing is fetched."""
    from worker.models.hub import locate
    from worker.weights import file_of

    return {
        f"{_of(entry, settings)}{file_of(entry)}": locate(_source(entry, settings))[file_of(entry)] for entry in entries
    }


def _of(entry: ModelEntry, settings: Settings) -> str:
    """Begin what is said of a model with its name, where a config.yml gave it one."""
    return f"{entry.name}: " if settings.config else ""


def _not_here(files: Sequence[str], settings: Settings) -> WeightsMissing:
    if settings.config:
        return WeightsMissing(
            f"Weights are not on this machine ({'; '.join(files)}). Fetch them with `voicefixer-queue weights pull "
            "--config FILE`, or put them where the `model` of their entries says."
        )
    return WeightsMissing(
        f"VoiceFixer's weights are not on this machine ({' and '.join(files)}). "
        "Fetch them with `voicefixer-queue weights pull`, name their folder in VFQ_WEIGHTS_DIR, "
        "or take the weaker models that need none: --models baseline."
    )


def _settings(folder: Path | None, revision: str | None, config: Path | None) -> Settings:
    named = {
        "weights_dir": str(folder) if folder else None,
        "weights_revision": revision,
        "config": str(config) if config else None,
    }
    return load_settings(**{name: value for name, value in named.items() if value is not None})


def _source(entry: ModelEntry, settings: Settings) -> "WeightsSource":
    from worker.models.errors import WeightsUnavailableError
    from worker.weights import weights_source

    try:
        return weights_source(entry, settings)
    except WeightsUnavailableError as error:
        raise WeightsMissing(f"{_of(entry, settings)}{error}") from None
