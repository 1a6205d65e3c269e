"""Byte ranges of a download (RFC 9110, section 14): one range, the whole, or none."""

from dataclasses import dataclass

from werkzeug.datastructures import IfRange, Range

from api.errors import RangeNotSatisfiable


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


def choose(asked: Range | None, condition: IfRange | None, *, etag: str, size: int) -> Slice | None:
    """Tell which part of an object to send; None for the whole.

    What is no valid range of bytes, several ranges at once, and a range of another version get the whole.

    Raises:
        RangeNotSatisfiable: if the range begins at or beyond the end.
    """
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return None
    if condition is not None and (condition.etag or condition.date) and condition.etag != etag:
        return None
    found = asked.range_for_length(size)
    if found is None:
        message = f"The result has {size} bytes; the range begins beyond them."
        raise RangeNotSatisfiable(message, headers={"Content-Range": f"bytes */{size}"})
    return Slice(found[0], found[1], size)
