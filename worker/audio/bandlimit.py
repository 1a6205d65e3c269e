"""VoiceFixer's mode 1: take out of a recording what lies above the band that holds nearly all of its sound.

The cut-off is found over the whole file, on the file's own grid of 512 samples, and from samples divided by the
file's peak: so it depends neither on level nor on how the file is cut. Geometry and rule are those of the published
package (STFT of 2048, hop 512, zeros beyond the ends; the bin where 95 % of the logarithmic magnitudes are reached).
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from worker.audio.source import Block, rebatch

WINDOW = 2048
HOP = 512
BINS = WINDOW // 2 + 1
KEPT = 0.95
BATCH = 64
"""Frames at once; always as many, so that sums do not depend on the sizes of the blocks."""
NOTHING_CUT = BINS
HANN = (0.5 - 0.5 * np.cos(2 * np.pi / WINDOW * np.arange(WINDOW))).astype(np.float32)


def find_cutoff(blocks: Iterable[Block], *, peak: float) -> int:
    """Find the first bin, of 0 to 1025, that mode 1 takes out of a file with this peak; 1025 takes nothing out.

    A file of several channels has one cut-off, that of its widest channel, so that no channel loses its own band.
    Silence has no band, and neither has a click too short to show one: nothing is taken out.
    """
    if peak == 0.0:
        return NOTHING_CUT
    level: NDArray[np.float64] = np.zeros((1, BINS))
    for frames in _frames(blocks):
        magnitude = np.abs(np.fft.rfft(frames * (HANN / np.float32(peak)), axis=2))
        level = level + np.log10(np.maximum(magnitude, 1.0)).sum(axis=0, dtype=np.float64)
    return max(_cutoff(channel) for channel in level)


def limit_blocks(blocks: Iterable[Block], *, cutoff: int, frames: int) -> Iterator[Block]:
    """Zero all bins from `cutoff` on in a file of `frames` samples `[n, channels]`; the length stays as it is."""
    if cutoff >= BINS:
        yield from blocks
        return
    left = frames
    skip = WINDOW // 2
    for piece in _overlap_add(_limited(_frames(blocks), cutoff)):
        audio = piece[skip : skip + left]
        skip, left = max(skip - len(piece), 0), left - len(audio)
        if len(audio):
            yield audio


def _cutoff(level: NDArray[np.float64]) -> int:
    total = level.cumsum()
    return int(np.argmax(total >= KEPT * total[-1])) if total[-1] > 0 else NOTHING_CUT


def _frames(blocks: Iterable[Block]) -> Iterator[Block]:
    """Centred frames `[at most 64, channels, 2048]`, zeros beyond the ends; `n // 512 + 1` in all."""
    held: Block | None = None
    for block in rebatch(_with_margins(blocks), BATCH * HOP):
        held = block if held is None else np.concatenate([held, block])
        count = (len(held) - WINDOW) // HOP + 1
        if count >= 1:
            views = np.lib.stride_tricks.sliding_window_view(held, WINDOW, axis=0)[::HOP]
            yield views[:count]
            held = held[count * HOP :]


def _with_margins(blocks: Iterable[Block]) -> Iterator[Block]:
    channels = 0
    for block in blocks:
        if not channels:
            channels = block.shape[1]
            yield np.zeros((WINDOW // 2, channels), np.float32)
        yield block
    if channels:
        yield np.zeros((WINDOW // 2, channels), np.float32)


def _limited(batches: Iterable[Block], cutoff: int) -> Iterator[Block]:
    for frames in batches:
        spectrum = np.fft.rfft(frames * HANN, axis=2)
        spectrum[:, :, cutoff:] = 0
        yield (np.fft.irfft(spectrum, WINDOW, axis=2) * HANN).astype(np.float32, copy=False)


def _overlap_add(batches: Iterable[Block]) -> Iterator[Block]:
    """Sum windowed frames and divide by the sum of the squared windows that are really there."""
    tail: Block | None = None
    weights = np.zeros(WINDOW - HOP, np.float32)
    for frames in batches:
        count, channels = frames.shape[:2]
        total = np.zeros(((count - 1) * HOP + WINDOW, channels), np.float32)
        squares = np.zeros(len(total), np.float32)
        if tail is not None:
            total[: len(tail)] = tail
        squares[: len(weights)] = weights
        for number in range(count):
            total[number * HOP :][:WINDOW] += frames[number].T
            squares[number * HOP :][:WINDOW] += HANN * HANN
        done = count * HOP
        yield _divide(total[:done], squares[:done])
        tail, weights = total[done:], squares[done:]
    if tail is not None:
        yield _divide(tail, weights)


def _divide(total: Block, squares: Block) -> Block:
    # The periodic window's first value is 0; where it is the only one, so is the sum.
    return np.asarray(total / np.maximum(squares, 1e-8)[:, None], dtype=np.float32)
