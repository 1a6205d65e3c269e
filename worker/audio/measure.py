"""What a recording measures, in one pass: length, peak, and, where it is asked for, the noise that is always there.

The noise of each frequency is read off a low quantile of its magnitudes over time, as speech pauses leave the
noise alone (quantile-based noise estimation: Stahl, Fischer and Bippus, ICASSP 2000). Magnitudes of stationary
noise follow the Rayleigh distribution, which gives the mean from the quantile. A histogram in steps of half a
decibel keeps memory constant whatever the length.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.audio.errors import AudioNotFinite
from worker.audio.source import Block

WINDOW = 2048
BINS = WINDOW // 2 + 1
HOP = 1024
QUANTILE = 0.12
STEPS_PER_DECADE = 40
"""Levels of the histogram per factor 10 in magnitude: half a decibel each."""
DECADES = 9
LEVELS = DECADES * STEPS_PER_DECADE
LOWEST = 1e-6
"""Magnitude of the lowest level; full-scale noise reaches some 1e2."""
SILENCE = 1e-6
"""Frames whose peak is below this (−120 dB) are digital silence: they say nothing about the noise."""
LEAST_FRAMES = 8
"""With fewer frames, 0.2 s, speech cannot be told from noise and the profile stays zero."""


@dataclass(frozen=True)
class Measured:
    """A recording's figures: `frames` per channel, `peak` over all channels, `noise_profile` `[C, 1025]`.

    The profile is the mean magnitude of the stationary noise in each bin of an STFT with a 2048-sample Hann
    window, float32; zero where nothing is known; none where it was not asked for.
    """

    frames: int
    peak: float
    noise_profile: NDArray[np.float32] | None


class Analysis:
    """Collects blocks `[n, channels]` of 44.1 kHz audio, in order, and gives their figures at the end.

    The spectra of the *noise* take longer than everything else that happens to a recording but the networks.
    """

    def __init__(self, channels: int, *, noise: bool = True) -> None:
        self._noise = noise
        self._window = (0.5 - 0.5 * np.cos(2 * np.pi / WINDOW * np.arange(WINDOW))).astype(np.float32)
        self._histogram = np.zeros((channels, BINS * LEVELS), np.int64)
        self._heard = np.zeros(channels, np.int64)
        self._rest = np.zeros((0, channels), np.float32)
        self._peak = 0.0
        self._frames = 0

    def add(self, block: Block) -> None:
        """Take the next block. Raises `AudioNotFinite`."""
        peak = max(float(block.max(initial=0.0)), -float(block.min(initial=0.0)))
        if not math.isfinite(peak):
            raise AudioNotFinite("The recording holds samples that are NaN or infinite; export it again.")
        self._peak = max(self._peak, peak)
        self._frames += len(block)
        if self._noise:
            self._add_spectra(block)

    def _add_spectra(self, block: Block) -> None:
        joined = np.concatenate([self._rest, block])
        count = max((len(joined) - WINDOW) // HOP + 1, 0)
        if count:
            self._count(joined[: (count - 1) * HOP + WINDOW])
        self._rest = joined[count * HOP :]

    def finish(self) -> Measured:
        """Give the figures of all blocks so far."""
        profiles = [self._profile(channel) for channel in range(len(self._heard))] if self._noise else None
        return Measured(self._frames, self._peak, None if profiles is None else np.stack(profiles))

    def _count(self, samples: Block) -> None:
        views = np.lib.stride_tricks.sliding_window_view(samples, WINDOW, axis=0)[::HOP]
        for channel in range(samples.shape[1]):
            frames = views[:, channel]
            frames = frames[np.abs(frames).max(axis=1) > SILENCE]
            if not len(frames):
                continue
            magnitude = np.abs(np.fft.rfft(frames * self._window, axis=1)).astype(np.float32, copy=False)
            level = np.log10(np.maximum(magnitude, LOWEST) / LOWEST) * STEPS_PER_DECADE
            index = np.clip(level, 0, LEVELS - 1).astype(np.int64) + np.arange(BINS) * LEVELS
            np.add.at(self._histogram[channel], index.ravel(), 1)
            self._heard[channel] += len(frames)

    def _profile(self, channel: int) -> NDArray[np.float32]:
        if self._heard[channel] < LEAST_FRAMES:
            return np.zeros(BINS, np.float32)
        histogram = self._histogram[channel].reshape(BINS, LEVELS)
        low = _quantile(histogram, QUANTILE) * _mean_over_quantile(QUANTILE)
        # A steady tone has no spread: its mean is its median, and the low quantile's correction would overstate it.
        middle = _quantile(histogram, 0.5) * _mean_over_quantile(0.5)
        return np.minimum(low, middle).astype(np.float32)


def _quantile(histogram: NDArray[np.int64], share: float) -> NDArray[np.float64]:
    """Magnitude `[bins]` below which this share of `[bins, levels]` counts lies, interpolated inside its level."""
    below = histogram.cumsum(axis=1)
    wanted = share * below[:, -1]
    level = (below < wanted[:, None]).sum(axis=1)
    rows = np.arange(len(histogram))
    inside = histogram[rows, level]
    part = (wanted - (below[rows, level] - inside)) / np.maximum(inside, 1)
    return np.asarray(LOWEST * 10.0 ** ((level + part) / STEPS_PER_DECADE))


def _mean_over_quantile(share: float) -> float:
    """Mean over quantile of the Rayleigh distribution: √(π/2) / √(−2 ln(1 − share))."""
    return math.sqrt(math.pi / 2) / math.sqrt(-2 * math.log1p(-share))
