"""Where a page of a list ended, as an opaque text."""

import base64
import binascii
import json
import math
import re

from api.errors import FieldError, PageNotFound

Position = tuple[float, str]

_ID = re.compile(r"[0-9a-f]{32}")
_FARTHEST = 1e11  # seconds: the year 5138


def encode(position: Position) -> str:
    """Write a position: time of creation, id."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).rstrip(b"=").decode()


def position(text: str | None) -> Position | None:
    """Read the cursor of a query; None where there is none.

    Raises:
        PageNotFound: if it is none of ours.
    """
    try:
        return decode(text) if text is not None else None
    except ValueError:
        raise unknown() from None


def unknown() -> PageNotFound:
    """Say that a cursor is none of ours."""
    return PageNotFound.of(FieldError("#/cursor", "is none of this service; begin again without it"))


def decode(text: str) -> Position:
    """Read a position.

    Raises:
        ValueError: if the text is none of ours.
    """
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        created, job_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not (isinstance(created, float) and math.isfinite(created) and 0 <= created < _FARTHEST):
            raise ValueError
        if not (isinstance(job_id, str) and _ID.fullmatch(job_id)):
            raise ValueError
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise ValueError("not a cursor") from None
    return created, job_id
