"""Arrays in storage, as `.npy`: a small header and raw little-endian numbers, so that ranges can be read."""

import io
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from shared.storage.interface import ObjectStore

Floats = NDArray[np.float32]

#: Enough for the header of any array of a few dimensions.
_HEADER_BYTES = 256


class ArrayFormatError(Exception):
    """An object is not the `.npy` file that it should be."""

    code = "mel_unreadable"


@dataclass(frozen=True)
class ArrayHeader:
    """What an `.npy` file says of itself.

    Attributes:
        shape: of the array.
        dtype: of its numbers.
        offset: bytes before the first number.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    offset: int


@lru_cache(maxsize=256)
def header_of(shape: tuple[int, ...]) -> bytes:
    """Make the header of a float32 array in C order."""
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def put_array(store: ObjectStore, key: str, array: Floats) -> None:
    """Write a float32 array among a job's working objects, which can be made again: the disk is not waited for."""
    values = np.ascontiguousarray(array, dtype="<f4")
    with store.writer(key, durable=False) as out:
        out.write(header_of(values.shape))
        out.write(raw(values))
        out.commit()


def raw(values: Floats) -> memoryview:
    """Give the bytes of a little-endian array in C order, without a copy."""
    return values.data.cast("B") if values.size else memoryview(b"")


def get_array(store: ObjectStore, key: str, shape: tuple[int, ...]) -> Floats:
    """Read a whole float32 array that we wrote.

    Raises:
        ArrayFormatError: if it does not have all of its numbers.
    """
    return _numbers(store, key, len(header_of(shape)), prod(shape)).reshape(shape)


def get_rows(store: ObjectStore, key: str, shape: tuple[int, int, int], start: int, stop: int) -> Floats:
    """Read rows [start, stop) of the middle axis of an array `[C, t, K]` that we wrote, by ranged reads.

    Raises:
        ArrayFormatError: if they are not all there.
    """
    channels, rows, width = shape
    offset = len(header_of(shape))
    if (start, stop) == (0, rows):
        return get_array(store, key, shape)
    count = (stop - start) * width
    parts = [_numbers(store, key, offset + (c * rows + start) * width * 4, count) for c in range(channels)]
    return (np.concatenate(parts) if channels > 1 else parts[0]).reshape(channels, stop - start, width)


def _numbers(store: ObjectStore, key: str, offset: int, count: int) -> Floats:
    return whole(np.frombuffer(store.read(key, offset, offset + count * 4), dtype="<f4"), count)


def whole(numbers: Floats, count: int) -> Floats:
    """Give the numbers back if there are as many as there should be.

    Raises:
        ArrayFormatError: if not: a working object ends early where a power cut took its end.
    """
    if numbers.size != count:
        raise ArrayFormatError("a working object does not have all of its bytes")
    return numbers


def read_header(store: ObjectStore, key: str) -> ArrayHeader:
    """Read and check the header of an `.npy` object of unknown origin.

    Raises:
        ArrayFormatError: if it is no `.npy` file of little-endian floats in C order, or is shorter than it says.
    """
    return parse_header(store.read(key, 0, _HEADER_BYTES), store.head(key).size)


def parse_header(data: bytes, size: int) -> ArrayHeader:
    """Understand the first bytes of an `.npy` file of *size* bytes; never unpickles anything."""
    buffer = io.BytesIO(data)
    try:
        version = npy.read_magic(buffer)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(buffer)
    except Exception:  # a header is Python's text for a dict: what can be wrong with it has no end
        raise ArrayFormatError("the file is no .npy array; write it with numpy.save") from None
    if (fortran and len(shape) > 1) or dtype not in (np.dtype("<f4"), np.dtype("<f8"), np.dtype("<f2")):
        raise ArrayFormatError(
            "the array must be floating point, little-endian and in C order; numpy.ascontiguousarray(mel, '<f4') is"
        )
    needed = buffer.tell() + prod(shape) * dtype.itemsize
    if size != needed:
        raise ArrayFormatError(f"the file has {size} bytes, its header promises {needed}; send it again whole")
    return ArrayHeader(tuple(int(n) for n in shape), dtype, buffer.tell())
