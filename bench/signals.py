"""Signals that behave like speech where it matters to a network, without a recording."""

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 44_100
SYLLABLE = 0.23
"""Seconds; some four syllables a second, as in running speech."""
HARMONICS = 40
CONTROL = 441
"""Samples between two values of the slow tracks."""

Track = NDArray[np.float64]


def speech_like(samples: int, seed: int) -> NDArray[np.float32]:
    """Voiced syllables with moving pitch and formants, fricatives, pauses and a noise floor at about −50 dBFS.

    `[samples]` float32 at 44.1 kHz, peak below 0.9. A longer signal of one seed begins like a shorter one.
    """
    slow = samples // CONTROL + 2
    syllables = _syllables(slow, seed)
    noise = np.random.default_rng([seed, 1]).standard_normal(samples)
    hiss = np.diff(noise, prepend=0.0)
    voiced = _voice(samples, syllables)
    unvoiced = 0.06 * _fine(syllables["hiss"], samples) * hiss
    return (0.22 * voiced + unvoiced + 0.003 * noise).clip(-0.9, 0.9).astype(np.float32)


def _syllables(slow: int, seed: int) -> dict[str, Track]:
    """Slow tracks of pitch, loudness, hiss and three formants, one value in `CONTROL` samples."""
    count = int(slow * CONTROL / SAMPLE_RATE / SYLLABLE) + 2
    drawn = np.random.default_rng([seed, 0]).random((count, 6))
    position = np.arange(slow) * CONTROL / SAMPLE_RATE / SYLLABLE
    index, phase = position.astype(int), position % 1.0
    spoken = drawn[:, 0] > 0.2
    hump = np.sin(np.pi * np.clip(phase * 1.25, 0.0, 1.0)) ** 1.5
    glide = np.interp(position, np.arange(count) + 0.5, drawn[:, 1])
    tracks = {
        "pitch": 105.0 + 110.0 * glide + 3.0 * np.sin(2 * np.pi * 5.0 * position * SYLLABLE),
        "loud": hump * spoken[index] * (0.4 + 0.6 * drawn[index, 2]),
        "hiss": (phase > 0.82) * np.sin(np.pi * np.clip((phase - 0.82) / 0.18, 0, 1)) * (drawn[index, 3] > 0.4),
    }
    for formant, (low, high) in enumerate(((300.0, 850.0), (900.0, 2300.0), (2300.0, 3300.0))):
        track = np.interp(position, np.arange(count) + 0.5, drawn[:, 3 + formant])
        tracks[f"formant{formant}"] = low + (high - low) * track
    return tracks


def _voice(samples: int, tracks: dict[str, Track]) -> Track:
    phase = np.cumsum(2 * np.pi * _fine(tracks["pitch"], samples) / SAMPLE_RATE)
    voice = np.zeros(samples)
    for harmonic in range(1, HARMONICS + 1):
        frequency = harmonic * tracks["pitch"]
        resonance = sum(
            gain / (1.0 + ((frequency - tracks[f"formant{n}"]) / (90.0 + 40.0 * n)) ** 2)
            for n, gain in enumerate((1.0, 0.6, 0.35))
        )
        level = tracks["loud"] * (resonance + 0.05) / np.sqrt(harmonic)
        voice += _fine(level, samples) * np.sin(harmonic * phase)
    return voice


def _fine(slow: Track, samples: int) -> Track:
    return np.interp(np.arange(samples), np.arange(len(slow)) * CONTROL, slow)
