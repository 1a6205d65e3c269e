"""VoiceFixer's weights on this machine: which files a worker would take, whether they are right, how they get here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.errors import WeightsMissing
from cli.output import emit, say, tell
from shared.settings import Settings, load_settings

if TYPE_CHECKING:  # torch is behind it
    from worker.models.checkpoints import Verdict
    from worker.models.hub import WeightsSource


def missing(settings: Settings) -> list[str]:
    """Files that the chosen models need and that are not on this machine; nothing is fetched."""
    if not {settings.restorer, settings.vocoder} & {"VoiceFixerRestorer", "VoiceFixerVocoder"}:
        return []
    return [file for file, path in _locate(settings).items() if path is None]


def require(settings: Settings) -> None:
    """See that a worker will find its weights.

    Raises:
        WeightsMissing: says how to get them, and how to do without.
    """
    if files := missing(settings):
        raise _not_here(files)


def fetch(settings: Settings) -> dict[str, Path]:
    """Get the weights from the hub if they are not here.

    Raises:
        WeightsMissing: if they cannot be had.
    """
    from worker.models.errors import WeightsUnavailableError
    from worker.models.hub import pull

    try:
        return pull(_source(settings))
    except WeightsUnavailableError as error:
        raise WeightsMissing(str(error)) from None


def run_pull(folder: Path | None, revision: str | None, *, as_json: bool) -> None:
    """Fetch both files and check them."""
    settings = _settings(folder, revision)
    say("Looking for VoiceFixer's weights (about 1 GB if they have to be fetched; CC-BY-4.0).")
    _report(fetch(settings), as_json=as_json)


def run_verify(folder: Path | None, revision: str | None, *, as_json: bool) -> None:
    """Check the files that a worker would take; those of *folder* alone if one is given."""
    from worker.models.files import FILES

    if folder is not None:
        _report({file: folder / file for file in FILES}, as_json=as_json)
        return
    found = _locate(_settings(None, revision))
    if absent := [file for file, path in found.items() if path is None]:
        raise _not_here(absent)
    _report({file: path for file, path in found.items() if path}, as_json=as_json)


def run_where(folder: Path | None, revision: str | None, *, as_json: bool) -> None:
    """Show which file each worker would load; exit status 1 if one is missing."""
    found = _locate(_settings(folder, revision))
    if as_json:
        emit({"files": {file: str(path) if path else None for file, path in found.items()}})
    else:
        for file, path in found.items():
            tell(f"{file}: {path or 'not on this machine'}")
    if None in found.values():
        raise SystemExit(1)


def _report(files: Mapping[str, Path], *, as_json: bool) -> None:
    """Check files and say what was found; exit status 1 if one of them is not what was published."""
    from worker.models.checkpoints import verify

    checked = {
        verdict.path: verdict for folder in {path.parent for path in files.values()} for verdict in verify(folder)
    }
    verdicts = [checked[path] for path in files.values()]
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


def _locate(settings: Settings) -> dict[str, Path | None]:
    from worker.models.hub import locate

    return locate(_source(settings))


def _not_here(files: Sequence[str]) -> WeightsMissing:
    return WeightsMissing(
        f"VoiceFixer's weights are not on this machine ({' and '.join(files)}). "
        "Fetch them with `voicefixer-queue weights pull`, name their folder in VFQ_WEIGHTS_DIR, "
        "or take the weaker models that need none: --models baseline."
    )


def _settings(folder: Path | None, revision: str | None) -> Settings:
    named = {"weights_dir": str(folder) if folder else None, "weights_revision": revision}
    return load_settings(**{name: value for name, value in named.items() if value is not None})


def _source(settings: Settings) -> "WeightsSource":
    from worker.models.hub import WeightsSource

    folder = Path(settings.weights_dir) if settings.weights_dir else None
    return WeightsSource(folder=folder, revision=settings.weights_revision, allow_other=settings.weights_unverified)
