"""What a storage key may look like: the same rule for a folder and for a bucket."""

import unicodedata

from shared.errors import InvalidKey

MAX_KEY_BYTES = 1024  # the limit of S3
TEMPORARY = ".vfq-"  # names that the folder store keeps for files still being written


def check_key(key: str) -> str:
    """Return `key` if it is a relative POSIX path that stays inside the store, else raise InvalidKey."""
    if not key:
        raise InvalidKey("A storage key must not be empty.")
    if problem := _problem(key):
        raise InvalidKey(f"The storage key {_shown(key)} {problem}.")
    return key


def check_prefix(prefix: str) -> str:
    """Like `check_key`, but the empty prefix and one that ends with a slash are allowed too."""
    body = prefix.removesuffix("/")
    if body or prefix:
        check_key(body)
    return prefix


def is_key(key: str) -> bool:
    """Whether an object that others wrote has a name that we can use."""
    return bool(key) and _problem(key) is None


def _problem(key: str) -> str | None:
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in key):
        return "holds a control character"
    if "\\" in key:
        return "holds a backslash; use / between its parts"
    if len(key.encode()) > MAX_KEY_BYTES:
        return f"is longer than {MAX_KEY_BYTES} bytes"
    parts = key.split("/")
    if "" in parts:
        return "has an empty part: no slash may stand first, last or twice"
    if "." in parts or ".." in parts:
        return "has a part that is . or .."
    if any(part.startswith(TEMPORARY) for part in parts):
        return f"has a part that begins with {TEMPORARY}, a name kept for unfinished files"
    return None


def _shown(key: str) -> str:
    return ascii(key if len(key) <= 120 else key[:120] + "...")
