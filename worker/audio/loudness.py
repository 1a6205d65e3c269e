"""Integrated loudness, block by block: ITU-R BS.1770-4 with the gates of EBU R128.

Gating needs the loudness of every 0.4 s at the end; a histogram in steps of 0.01 LU, which keeps the energies too,
makes that the same memory for any length.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from worker.audio.frames import Doubles, FrameEnergies

Floats = NDArray[np.float32]

ABSOLUTE_GATE = -70.0
RELATIVE_GATE = -10.0
LEAST_RATE = 4_000
"""Hz. Below twice the corner of the first filter, 1,682 Hz, it cannot be made."""
STEPS_A_BLOCK = 4
"""Blocks of 0.4 s, a new one every 0.1 s."""
TOP = 200.0
"""LUFS at which the histogram ends: what is louder counts as this, and a decoder lets 120 dB above full scale pass."""
PER_LU = 100
OFFSET = -0.691


class Loudness:
    """Takes planes `[channels, n]` in order; `integrated` gives LUFS at the end. Every channel has weight 1."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._able = sample_rate >= LEAST_RATE
        if self._able:
            self._above, self._below = k_weighting(sample_rate)
            self._state = np.zeros((channels, len(self._below) - 1))
        self._frames = FrameEnergies(round(sample_rate / 10))
        self._steps: Doubles = np.zeros(0)
        self._energies = np.zeros(int((TOP - ABSOLUTE_GATE) * PER_LU) + 1)
        self._counts = np.zeros(len(self._energies), np.int64)

    def add(self, planes: Floats) -> None:
        """Take the next samples, at least one; they are finite."""
        if not self._able:
            return
        weighted, self._state = lfilter(self._above, self._below, planes, zi=self._state)
        energies = self._frames.add(weighted)
        if len(energies):
            self._add_steps(energies / self._frames.size)

    def integrated(self) -> float | None:
        """Give the loudness in LUFS; none of less than 0.4 s, nor where nothing passes the gate of -70 LUFS."""
        counted = int(self._counts.sum())
        if not counted:
            return None
        gate = _loudness(float(self._energies.sum()) / counted) + RELATIVE_GATE
        first = max(0, math.ceil((gate - ABSOLUTE_GATE) * PER_LU))
        blocks = int(self._counts[first:].sum())
        return _loudness(float(self._energies[first:].sum()) / blocks) if blocks else None

    def _add_steps(self, means: Doubles) -> None:
        steps = np.concatenate((self._steps, means))
        self._steps = steps[-(STEPS_A_BLOCK - 1) :]
        if len(steps) < STEPS_A_BLOCK:
            return
        energies = np.convolve(steps, np.full(STEPS_A_BLOCK, 1 / STEPS_A_BLOCK), mode="valid")
        with np.errstate(divide="ignore"):
            levels = OFFSET + 10 * np.log10(energies)
        passed = levels > ABSOLUTE_GATE
        index = np.minimum((levels[passed] - ABSOLUTE_GATE) * PER_LU, len(self._counts) - 1).astype(np.int64)
        np.add.at(self._counts, index, 1)
        np.add.at(self._energies, index, energies[passed])


def k_weighting(sample_rate: int) -> tuple[Doubles, Doubles]:
    """Numerator and denominator of the K-weighting at any rate, both of its filters in one.

    The standard gives them at 48 kHz; these are the analogue filters behind them, through the bilinear transform
    (Brecht De Man, Evaluation of implementations of the EBU R128 loudness measurement, AES 2018; libebur128 too).
    """
    shelf, high_pass = _shelf(sample_rate), _high_pass(sample_rate)
    return np.convolve(shelf[:3], high_pass[:3]), np.convolve(shelf[3:], high_pass[3:])


def _shelf(sample_rate: int) -> list[float]:
    gain, quality = 10 ** (3.999843853973347 / 20), 0.7071752369554196
    bend = gain**0.4996667741545416
    k = math.tan(math.pi * 1681.974450955533 / sample_rate)
    scale = 1 + k / quality + k * k
    return [
        (gain + bend * k / quality + k * k) / scale,
        2 * (k * k - gain) / scale,
        (gain - bend * k / quality + k * k) / scale,
        1.0,
        2 * (k * k - 1) / scale,
        (1 - k / quality + k * k) / scale,
    ]


def _high_pass(sample_rate: int) -> list[float]:
    quality = 0.5003270373238773
    k = math.tan(math.pi * 38.13547087602444 / sample_rate)
    scale = 1 + k / quality + k * k
    return [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / scale, (1 - k / quality + k * k) / scale]


def _loudness(energy: float) -> float:
    return OFFSET + 10 * math.log10(energy)
