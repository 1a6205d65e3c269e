"""The user's cache: what may be kept between starts, and may be missing at any time."""

import os
from pathlib import Path


def user_cache() -> Path | None:
    """The folder for what this program keeps; it may not exist yet, and there is none without a home."""
    cache = os.environ.get("XDG_CACHE_HOME")
    try:
        home = Path(cache) if cache else Path.home() / ".cache"
    except RuntimeError:  # neither HOME nor an entry in /etc/passwd
        return None
    return home / "voicefixer-queue"
