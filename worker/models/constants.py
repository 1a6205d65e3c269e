"""The geometry that the published model was trained with, and the sums that follow from it.

Source: VoiceFixer (arXiv:2109.13731) and its published checkpoints: 44.1 kHz, 10 ms hops, 128 mel bins.
"""

from typing import Final

SAMPLE_RATE: Final = 44_100
WINDOW: Final = 2048
"""FFT size and periodic Hann window, in samples."""
HOP: Final = 441
PAD: Final = 1024
"""Samples on each side that centre the first and the last frame."""
N_MELS: Final = 128
N_BINS: Final = 1025
GRID: Final = 64
"""Frames to which the UNet is shift-invariant (six poolings by two): a window starts on a multiple of it."""


def frame_count(samples: int) -> int:
    """Frames of a centred STFT of so many samples."""
    return samples // HOP + 1


def padded_length(frames: int) -> int:
    """Samples that give so many uncentred frames: a window with 1024 samples on either side."""
    return HOP * (frames - 1) + WINDOW
