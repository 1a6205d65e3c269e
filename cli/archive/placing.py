"""Where results lie, and how they get there: written beside their place, checked, on the disk, then renamed."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from cli.archive.errors import FileTrouble, Trouble, writing_failed
from cli.archive.manifest import Manifest, Stamp, sync_folder
from cli.archive.recording import digest_of
from cli.archive.walk import is_inside


class Shelf:
    """The target of an archive. Nothing is written outside it, nor into the recordings' folder within it."""

    def __init__(self, source: Path, target: Path, manifest: Manifest) -> None:
        self._source = os.path.realpath(source)
        self.target = target
        self._real = os.path.realpath(target)
        self._holds_source = is_inside(self._source, self._real)
        self._manifest = manifest

    @contextmanager
    def part(self, stem: str, path: str) -> Iterator[Path]:
        """Give the path of a file beside the place of a result; what is left of it at the end is deleted.

        Its name is that of every attempt at this file, so that runs which were killed do not leave more and more.

        Raises:
            FileTrouble: if nothing can or may be written there.
            ArchiveError: if the disk takes nothing at all.
        """
        folder = (self.target / stem).parent
        try:
            _make(folder)
        except OSError as error:
            raise writing_failed(error, str(folder)) from None
        self._check(folder)
        part = folder / f".voicefixer-{sha256(os.fsencode(path)).hexdigest()[:16]}.part"
        try:
            yield part
        finally:
            with suppress(OSError):
                part.unlink()

    def place(self, part: Path, output: str, path: str, digest: str, go_on: Callable[[], None]) -> Stamp:
        """Let a result take its place; it is on the disk then. *digest* is its sha256.

        Raises:
            FileTrouble: if something lies there that was not put there for the recording *path*.
        """
        place = self.target / output
        try:
            if not self._manifest.owns(output, path) and not _is(place, digest, go_on):
                raise FileTrouble(
                    Trouble.OUTPUT_EXISTS,
                    f"{output} lies in the target already and is not of this archive. Move it away, or choose another.",
                )
            part.replace(place)
            sync_folder(place.parent)
            facts = place.stat()
        except OSError as error:
            raise writing_failed(error, str(place)) from None
        return Stamp(facts.st_size, facts.st_mtime_ns, digest)

    def holds(self, output: str, stamp: Stamp, *, verify: bool, go_on: Callable[[], None]) -> bool:
        """Whether a result lies in its place as it was put there; *verify* trusts no size and time."""
        place = self.target / output
        try:
            facts = place.lstat()
            if facts.st_size != stamp.size:
                return False
            if not verify and facts.st_mtime_ns == stamp.mtime_ns:
                return True
            return digest_of(place, go_on) == stamp.sha256
        except OSError:
            return False

    def _check(self, folder: Path) -> None:
        real = os.path.realpath(folder)
        if not is_inside(real, self._real):
            raise FileTrouble(Trouble.OUTPUT_OUTSIDE, "A link in the target leads out of it; nothing is written there.")
        if self._holds_source and is_inside(real, self._source):
            raise FileTrouble(
                Trouble.OUTPUT_OUTSIDE, "The result would lie among the recordings, which are not touched."
            )


def write_beside(place: Path, data: bytes) -> None:
    """Write a small file whole or not at all.

    Raises:
        FileTrouble: if it cannot be written.
    """
    part = place.with_name(f".voicefixer-{sha256(os.fsencode(place.name)).hexdigest()[:16]}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(place)
        sync_folder(place.parent)
    except OSError as error:
        raise writing_failed(error, str(place)) from None


def _make(folder: Path) -> None:
    """Make folders, and see that each is on the disk."""
    if folder.is_dir():
        return
    _make(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
        sync_folder(folder.parent)
    if not folder.is_dir():
        raise NotADirectoryError(20, "a file lies where a folder is needed")


def _is(place: Path, digest: str, go_on: Callable[[], None]) -> bool:
    """Whether nothing lies there, or the very result: as after a death between its renaming and its line."""
    if not os.path.lexists(place):
        return True
    return place.is_file() and digest_of(place, go_on) == digest
