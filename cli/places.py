"""Where results go: beside the input, into a folder, or into a file that was named; nothing is lost on the way."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cli.errors import CommandError, UsageProblem
from shared.formats import FORMATS

_BY_SUFFIX = {form.extension: form.name for form in FORMATS.values()} | {"aif": "aiff", "npy": "npy"}


@dataclass(frozen=True)
class Place:
    """
    Where one result goes.

    Attributes:
        folder: it lies in
        stem: its name as far as it is known before the result is there
        file: the whole path, if it was named

    """

    folder: Path
    stem: str
    file: Path | None = None

    def path(self, extension: str) -> Path:
        """Path of a result with this extension."""
        return self.file or self.folder / f"{self.stem}.{extension}"


def plan(inputs: Sequence[Path], out: Path | None) -> list[Place]:
    """Choose a place for the result of each input.

    Raises:
        UsageProblem: if *out* does not fit, or two results would have one place.
    """
    if len(inputs) > 1 and out is not None and out.exists() and not out.is_dir():
        raise UsageProblem(f"{out} is a file; several results need a folder.")
    into_folder = out is not None and (len(inputs) > 1 or out.is_dir() or not out.suffix)
    if out is not None and not into_folder:
        return [Place(out.parent, out.stem, out)]
    places = [Place(out or path.parent, f"{path.stem}-restored") for path in inputs]
    for place in places:
        if places.count(place) > 1:
            raise UsageProblem(f"Two inputs would both become {place.folder / place.stem}; restore them one by one.")
    return places


def format_of(out: Path) -> str:
    """Format that a named file asks for by its suffix.

    Raises:
        UsageProblem: if it asks for none of ours.
    """
    form = _BY_SUFFIX.get(out.suffix.lower().removeprefix("."))
    if form is None:
        known = ", ".join(f".{name}" for name in _BY_SUFFIX)
        raise UsageProblem(f"{out} would be no {out.suffix}: results are {known}. --format chooses one for any name.")
    return form


def refuse(path: Path, inputs: Sequence[Path], *, overwrite: bool) -> None:
    """See that a result may be written there.

    Raises:
        UsageProblem: if an input lies there, or anything else unless *overwrite*.
    """
    if not path.exists():
        return
    if any(path.samefile(one) for one in inputs if one.exists()):
        raise UsageProblem(f"{path} is an input; a result never takes its place. Choose another with -o.")
    if not overwrite:
        raise UsageProblem(f"{path} exists already; --overwrite replaces it, -o chooses another place.")


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Give a path to write to; it becomes *path* at the end, whole or not at all.

    Raises:
        CommandError: if the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".part", dir=path.parent)
        os.close(descriptor)
    except OSError as error:
        raise CommandError(f"{path.parent} cannot be written to: {error.strerror}.") from None
    part = Path(name)
    try:
        yield part
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
