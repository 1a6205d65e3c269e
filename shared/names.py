"""File names that callers and servers give."""

import unicodedata

LONGEST = 255


def plain_name(given: str) -> str:
    """Keep the last part of a path, without control characters and lone surrogates, at most 255 characters."""
    name = given.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    kept = "".join(char for char in name if unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp"))
    # A name of dots alone is a folder's.
    return kept.strip()[-LONGEST:] if kept.strip(" .") else "recording"
