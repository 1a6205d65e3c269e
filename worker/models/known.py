"""Remembers, between starts, which files were found to be the published ones, by their sha256.

Working out the md5 that was published takes twice the time of the sha256. Whoever can write here could vouch for other
weights; but also put other code in place of what the CPU backend compiled, which lies in the same hands.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def is_known(sha256: str, md5: str) -> bool:
    """Whether what has this sha256 was found to have this md5."""
    folder = _folder()
    with suppress(OSError, ValueError):
        return folder is not None and (folder / sha256).read_text("ascii") == md5
    return False


def remember(sha256: str, md5: str) -> None:
    """Remember it, where that is possible."""
    folder = _folder()
    if folder is None:
        return
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as own:
            written = Path(own) / "md5"
            written.write_text(md5, "ascii")
            written.replace(folder / sha256)


def _folder() -> Path | None:
    cache = user_cache()
    return None if cache is None else cache / "published"


def user_cache() -> Path | None:
    """The user's folder for what this program keeps; it may not exist yet, and there is none without a home."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "")
    try:
        # A relative one is to be ignored, says the XDG Base Directory Specification.
        home = cache if cache.is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # neither HOME nor an entry in /etc/passwd
        return None
    return home / "voicefixer-queue"
