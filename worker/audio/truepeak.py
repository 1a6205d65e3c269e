"""True peak, block by block: four times oversampled with the filter of ITU-R BS.1770-4, annex 2.

Oversampling costs more than all other measures together. A value between samples cannot pass the highest sample near
it by more than the filter's gain, so only the few places are oversampled that may hold a new highest value.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_FIRST = (
    *(0.001708984375, 0.010986328125, -0.0196533203125, 0.033203125, -0.0594482421875, 0.1373291015625),
    *(0.97216796875, -0.102294921875, 0.047607421875, -0.026611328125, 0.014892578125, -0.00830078125),
)
_SECOND = (
    *(-0.0291748046875, 0.029296875, -0.0517578125, 0.089111328125, -0.16650390625, 0.465087890625),
    *(0.77978515625, -0.2003173828125, 0.1015625, -0.0582275390625, 0.0330810546875, -0.0189208984375),
)
#: `[taps, phases]`: the last two phases are the first two, turned round.
FILTER = np.array([_FIRST, _SECOND, _SECOND[::-1], _FIRST[::-1]], np.float32).T
TAPS = len(FILTER)
GAIN = float(np.abs(FILTER).sum(axis=0).max())
"""The most by which a value passes the samples that it is made of: 2.03."""
PIECE = 64
"""Samples of a place that is oversampled or not."""


class TruePeak:
    """Takes planes `[channels, n]` in order; `highest` is the true peak so far, `finish` adds what rings on."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._last = np.zeros((channels, TAPS - 1), np.float32)
        self.highest = 0.0

    def add(self, planes: Floats, peaks: NDArray[np.float32]) -> None:
        """Take the next samples, at least one, and the highest magnitude of each channel among them; all finite."""
        if max(float(peaks.max()), float(np.abs(self._last).max())) * GAIN <= self.highest:
            self._last = np.concatenate((self._last, planes[:, -(TAPS - 1) :]), axis=1)[:, -(TAPS - 1) :]
            return
        joined = np.concatenate((self._last, planes), axis=1)
        self._last = joined[:, -(TAPS - 1) :].copy()
        for channel in joined:
            self._look(channel)

    def finish(self) -> float:
        """Give the true peak of all, at least the highest sample."""
        self.add(np.zeros((self._channels, TAPS), np.float32), np.zeros(self._channels, np.float32))
        return self.highest

    def _look(self, samples: Floats) -> None:
        values = len(samples) - TAPS + 1
        pieces = -(-values // PIECE)
        padded = np.zeros(pieces * PIECE + PIECE, np.float32)
        padded[: len(samples)] = samples
        heights = np.abs(padded).reshape(-1, PIECE).max(axis=1)
        self.highest = max(self.highest, float(heights.max()))
        # The values of a piece are made of its samples and of the first of the next.
        reach = np.maximum(heights[:-1], heights[1:]) * GAIN
        if reach.max() > self.highest:  # the most promising place may spare the others
            self._oversample(padded, reach.argmax()[None], values)
            self._oversample(padded, np.flatnonzero(reach > self.highest), values)

    def _oversample(self, padded: Floats, pieces: NDArray[np.intp], values: int) -> None:
        if not len(pieces):
            return
        at = pieces[:, None] * PIECE + np.arange(PIECE + TAPS - 1)
        views = np.lib.stride_tricks.sliding_window_view(padded[at], TAPS, axis=1).reshape(-1, TAPS)
        # Those at the end need samples of the next block, and come with it.
        early = max(0, (int(pieces[-1]) + 1) * PIECE - values)
        # Not by a product of matrices: BLAS would keep every core busy with it, and others wait.
        made = np.einsum("ij,jk->ik", views[: len(views) - early], FILTER)
        self.highest = max(self.highest, float(made.max()), -float(made.min()))
