"""What FFmpeg may take for one file: a few hundred bytes can ask it for gigabytes.

A table of samples in an MP4 names how many there are and not each of them; indexes and pictures come packed; Apple
Lossless names the length of its frames. None of FFmpeg's own limits is below 2 GB.
"""

import ctypes
from functools import cache
from typing import Any

import av
import av._core

ALLOCATION = 256 * 1024**2
"""Bytes in one piece. The largest that recordings need is an index of 24 bytes a packet: 72 hours of AAC."""
MAX_STREAMS = 64
"""Tracks in one file; each has a decoder of up to 2 MB."""
MAX_SAMPLES = 2**20
"""Samples per channel in one packet; 4096 are usual, and TTA has a second and a bit."""


@cache
def bound_allocations() -> None:
    """Let FFmpeg refuse larger pieces in this process; what needs one is then damaged."""
    # PyAV does not offer it. Its module's own handle finds the library that it was linked with.
    limit = ctypes.CDLL(av._core.__file__).av_max_alloc
    limit.argtypes, limit.restype = [ctypes.c_size_t], None
    limit(ALLOCATION)


def bound_frames(context: Any) -> None:
    """Let a decoder that is not open yet refuse packets of too many samples."""
    context.options = {**context.options, "max_samples": str(MAX_SAMPLES)}


@cache
def sound_decoders() -> str:
    """The names of all decoders of sound, as FFmpeg's options take them."""
    return ",".join(sorted(filter(_decodes_sound, av.codecs_available)))


def _decodes_sound(name: str) -> bool:
    try:
        return bool(av.Codec(name, "r").type == "audio")
    except ValueError:  # it only encodes
        return False
