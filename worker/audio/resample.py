"""Samples at another rate, streaming, with a length that is exact."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from worker.audio.source import Block

QUALITY = "VHQ"


def resampled_length(samples: int, from_rate: int, to_rate: int) -> int:
    """Samples at `to_rate` that last as long as `samples` at `from_rate`: `n·to/from`, a half rounded up.

    What has a sample keeps one, also where it would round to none (a single sample at 192 kHz).
    """
    return max((2 * samples * to_rate + from_rate) // (2 * from_rate), min(samples, 1))


def resample_blocks(
    blocks: Iterable[Block], *, from_rate: int, to_rate: int, channels: int, total_out: int | None = None
) -> Iterator[Block]:
    """Resample `[n, channels]` float32 blocks of any sizes; the samples do not depend on the sizes.

    In all `total_out` samples come out, by default `resampled_length` of those that went in: what the filter gives
    beyond is cut, what it lacks holds the last sample. Equal rates pass through untouched. The output may pass ±1.
    """
    if from_rate == to_rate:
        converted: Iterable[Block] = blocks
    else:
        converted = _convert(blocks, from_rate, to_rate, channels)
    yield from converted if total_out is None else _fit(converted, total_out, channels)


def _convert(blocks: Iterable[Block], from_rate: int, to_rate: int, channels: int) -> Iterator[Block]:
    stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality=QUALITY)
    taken = given = 0
    for block in blocks:
        taken += len(block)
        made = stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32))
        given += len(made)
        if len(made):
            yield made
    rest = stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)
    yield from _fit([rest], resampled_length(taken, from_rate, to_rate) - given, channels)


def _fit(blocks: Iterable[Block], total: int, channels: int) -> Iterator[Block]:
    left = total
    last = np.zeros((1, channels), np.float32)
    for block in blocks:
        piece = block[: max(left, 0)]
        left -= len(piece)
        if len(piece):
            last = piece[-1:]
            yield piece
    while left > 0:
        piece = np.repeat(last, min(left, 65_536), axis=0)
        left -= len(piece)
        yield piece
