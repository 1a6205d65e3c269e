"""What audio measures, while it passes: loudness, peaks, noise floor, and what tells that something went wrong."""

import math

import numpy as np
from numpy.typing import NDArray

from shared.receipt import Levels
from worker.audio.frames import FrameEnergies
from worker.audio.loudness import Loudness
from worker.audio.source import Block
from worker.audio.truepeak import TruePeak

Floats = NDArray[np.float32]

AT_ONCE = 44_100
"""Samples of all channels that are looked at together: what is made of them stays in the processor's cache."""
FRAMES_A_SECOND = 20
"""The noise floor is read off frames of 50 ms."""
FLOOR_SHARE = 0.1
"""The level that this share of frames stays below: speech pauses for longer than that."""
LOWEST_DB, HIGHEST_DB, PER_DB = -120.0, 130.0, 10
FULL_SCALE = 0.999
RUN = 3
"""Samples at full scale in a row that count as clipped: a single one is a peak."""
SPECTRUM = 2048
"""Samples of a spectrum; one is taken every second."""


class Meter:
    """Takes blocks `[n, channels]` in order, full scale ±1; memory does not grow with their number."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self.samples = 0
        """Per channel, so far."""
        self._at_once = max(1, AT_ONCE // channels)
        self._loudness = Loudness(sample_rate, channels)
        self._true_peak = TruePeak(channels)
        self._floor = _Floor(sample_rate // FRAMES_A_SECOND, channels)
        self._clipping = _Clipping(channels)
        self._whiteness = _Whiteness(sample_rate)
        self._peaks = np.zeros(channels)
        self._not_finite = 0

    @property
    def peak(self) -> float:
        """Highest magnitude of a sample so far."""
        return float(self._peaks.max())

    def add(self, block: Block) -> None:
        """Take the next block."""
        self.samples += len(block)
        for start in range(0, len(block), self._at_once):
            self._add(np.ascontiguousarray(block[start : start + self._at_once].T))

    def _add(self, planes: Floats) -> None:
        peaks = np.maximum(planes.max(axis=1), -planes.min(axis=1))
        if not np.isfinite(peaks).all():
            self._not_finite += int(np.count_nonzero(~np.isfinite(planes)))
            planes = np.nan_to_num(planes, nan=0.0, posinf=0.0, neginf=0.0)
            peaks = np.abs(planes).max(axis=1)
        self._peaks = np.maximum(self._peaks, peaks)
        self._loudness.add(planes)
        self._true_peak.add(planes, peaks)
        self._floor.add(planes)
        self._clipping.add(planes, float(peaks.max()))
        self._whiteness.add(planes)

    def finish(self) -> Levels:
        """Give what all blocks measure; nothing may be added afterwards."""
        loudness = self._loudness.integrated()
        total = self.samples * len(self._peaks)
        return Levels(
            loudness_lufs=None if loudness is None else round(loudness, 2),
            true_peak_dbtp=decibels(self._true_peak.finish()),
            noise_floor_dbfs=self._floor.level(),
            rms_dbfs=decibels(self._floor.rms()),
            channel_peaks_dbfs=[decibels(float(peak)) for peak in self._peaks],
            clipped_share=round(self._clipping.count / total, 6) if total else 0.0,
            flatness=self._whiteness.flatness(),
            not_finite=self._not_finite,
        )


def decibels(magnitude: float) -> float | None:
    """Give a magnitude in dB of full scale, to 0.01 dB; none below -120 dB, which is digital silence."""
    if magnitude <= 10 ** (LOWEST_DB / 20):
        return None
    return round(20 * math.log10(magnitude), 2)


class _Floor:
    """A histogram of the power of short frames, in steps of 0.1 dB."""

    def __init__(self, size: int, channels: int) -> None:
        self._channels = channels
        self._frames = FrameEnergies(size)
        self._samples = 0
        self._counts = np.zeros(int((HIGHEST_DB - LOWEST_DB) * PER_DB) + 1, np.int64)

    def add(self, planes: Floats) -> None:
        self._samples += planes.size
        powers = self._frames.add(planes) / (self._frames.size * self._channels)
        levels = 10 * np.log10(np.maximum(powers, 10 ** (LOWEST_DB / 10)))
        index = np.rint((levels - LOWEST_DB) * PER_DB).astype(np.int64)
        np.add.at(self._counts, np.minimum(index, len(self._counts) - 1), 1)

    def level(self) -> float | None:
        """The floor in dBFS; of what is shorter than a frame, its RMS."""
        counted = int(self._counts.sum())
        if not counted:
            return decibels(self.rms())
        index = int(np.searchsorted(self._counts.cumsum(), FLOOR_SHARE * counted))
        return round(LOWEST_DB + index / PER_DB, 1) if index else None

    def rms(self) -> float:
        return math.sqrt(self._frames.total / self._samples) if self._samples else 0.0


class _Clipping:
    """Counts samples that lie in runs at full scale or beyond."""

    def __init__(self, channels: int) -> None:
        self._last = np.zeros((channels, RUN), bool)
        self.count = 0

    def add(self, planes: Floats, peak: float) -> None:
        if peak < FULL_SCALE:
            self._last[:] = False
            return
        at = np.concatenate((self._last, np.abs(planes) >= FULL_SCALE), axis=1)
        later = at[:, 3:] & at[:, 2:-1] & at[:, 1:-2]  # the third sample of a run, and each one after it
        third = later & ~at[:, :-3]
        self.count += int(later.sum()) + (RUN - 1) * int(third.sum())
        self._last = at[:, -RUN:].copy()


class _Whiteness:
    """The long-term spectrum of all channels together, from one short spectrum a second."""

    def __init__(self, every: int) -> None:
        self._every = max(every, SPECTRUM)
        self._skip = 0
        self._rest: Floats = np.zeros(0, np.float32)
        self._window = np.hanning(SPECTRUM).astype(np.float32)
        self._power = np.zeros(SPECTRUM // 2 + 1)

    def add(self, planes: Floats) -> None:
        while planes.shape[1]:
            if self._skip:
                passed = min(self._skip, planes.shape[1])
                self._skip -= passed
                planes = planes[:, passed:]
                continue
            wanted = SPECTRUM - len(self._rest)
            self._rest = np.concatenate((self._rest, planes[:, :wanted].mean(axis=0)))
            planes = planes[:, wanted:]
            if len(self._rest) == SPECTRUM:
                self._power += np.abs(np.fft.rfft(self._rest * self._window)) ** 2
                self._rest, self._skip = self._rest[:0], self._every - SPECTRUM

    def flatness(self) -> float | None:
        """Geometric over arithmetic mean of the spectrum; none where there was no whole one, or only silence."""
        power = self._power[1:-1]
        mean = float(power.mean())
        if mean < 1e-12:
            return None
        return round(float(np.exp(np.log(np.maximum(power, mean * 1e-12)).mean()) / mean), 4)
