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
MAX_STREAMS = 40
"""Tracks in one file; each has a decoder of up to 9 MB."""
UNPROBED = frozenset({"alac", "als", "ape", "libopus", "opus", "tta", "vorbis"})
"""Decoders that a header can make ask for 50 to 300 MB, each track's anew. Only the one that is decoded is opened: all
containers with these name rate and channels themselves."""
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
def probed_decoders() -> str:
    """The names of the decoders of sound that may look into every track when a file is opened, as FFmpeg takes them."""
    return ",".join(sorted(filter(_decodes_sound, av.codecs_available - UNPROBED)))


def _decodes_sound(name: str) -> bool:
    try:
        return bool(av.Codec(name, "r").type == "audio")
    except ValueError:  # it only encodes
        return False
