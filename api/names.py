"""File names that callers give and get."""

import unicodedata
from urllib.parse import quote

LONGEST = 255


def plain_name(given: str) -> str:
    """Keep the last part of a path, without control characters and lone surrogates, at most 255 characters."""
    name = given.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    kept = "".join(char for char in name if unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp"))
    # A name of dots alone is a folder's.
    return kept.strip()[-LONGEST:] if kept.strip(" .") else "recording"


def disposition(filename: str) -> str:
    """Write `Content-Disposition` for a download: ASCII for old clients, `filename*` for the rest (RFC 6266)."""
    name = plain_name(filename)
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    simple = "".join("_" if char in '"\\%;' else char for char in ascii_name) or "recording"
    return f"attachment; filename=\"{simple}\"; filename*=UTF-8''{quote(name, safe='!#$&+-.^_`|~')}"
