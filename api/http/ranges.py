"""Byte ranges of a download (RFC 9110, section 14): one range, the whole, or none."""

import re
from dataclasses import dataclass

from werkzeug.datastructures import IfRange

from api.errors import RangeNotSatisfiable

_ONE_RANGE = re.compile(r"\s*bytes\s*=\s*([0-9]{0,100})\s*-\s*([0-9]{0,100})\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Slice:
    """Bytes [start, stop) of an object of `size` bytes."""

    start: int
    stop: int
    size: int

    @property
    def length(self) -> int:
        """How many bytes these are."""
        return self.stop - self.start

    @property
    def content_range(self) -> str:
        """For the header `Content-Range`."""
        return f"bytes {self.start}-{self.stop - 1}/{self.size}"


def choose(header: str | None, condition: IfRange | None, *, etag: str, size: int) -> Slice | None:
    """Tell which part of an object to send; None for the whole.

    What is no valid range of bytes, several ranges at once, and a range of another version get the whole.

    Raises:
        RangeNotSatisfiable: if the range begins at or beyond the end.
    """
    found = _ONE_RANGE.fullmatch(header or "")
    if found is None or not any(found.groups()):
        return None
    if condition is not None and (condition.etag or condition.date) and condition.etag != etag:
        return None
    first, last = (int(digits) if digits else None for digits in found.groups())
    if first is not None and last is not None and last < first:
        return None
    if first is None:  # the last so many bytes
        first, last = size - min(last or 0, size), None
    if first >= size:
        message = f"The result has {size} bytes; the range begins beyond them."
        raise RangeNotSatisfiable(message, headers={"Content-Range": f"bytes */{size}"})
    return Slice(first, size if last is None else min(last + 1, size), size)
