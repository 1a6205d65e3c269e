"""Recordings for tests, and what is decoded of them."""

import io
from typing import Any

import numpy as np

from bench.fuzz.recordings import by_ffmpeg, by_libsndfile
from worker.audio.decode import open_audio
from worker.audio.source import Block

__all__ = ["by_ffmpeg", "by_libsndfile", "noise", "read", "tone"]


def tone(frames: int, rate: int, channels: int = 1) -> Block:
    """A 440 Hz sine of amplitude 0.3, a little quieter in each further channel."""
    wave = 0.3 * np.sin(2 * np.pi * 440 / rate * np.arange(frames))
    return np.stack([wave * 0.8**channel for channel in range(channels)], axis=1).astype(np.float32)


def noise(frames: int, channels: int = 1, *, level: float = 0.1, seed: int = 0) -> Block:
    """White Gaussian noise with this RMS."""
    return (np.random.default_rng(seed).standard_normal((frames, channels)) * level).astype(np.float32)


def read(data: bytes | io.IOBase, **options: Any) -> Block:
    """All samples of a recording."""
    file: Any = io.BytesIO(data) if isinstance(data, bytes) else data
    with open_audio(file, **options) as source:
        return np.concatenate(list(source.blocks()))
