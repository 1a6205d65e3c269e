"""File names that callers get."""

import unicodedata
from urllib.parse import quote

from shared.names import plain_name


def disposition(filename: str) -> str:
    """Write `Content-Disposition` for a download: ASCII for old clients, `filename*` for the rest (RFC 6266)."""
    name = plain_name(filename)
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    simple = "".join("_" if char in '"\\%;' else char for char in ascii_name) or "recording"
    return f"attachment; filename=\"{simple}\"; filename*=UTF-8''{quote(name, safe='!#$&+-.^_`|~')}"
