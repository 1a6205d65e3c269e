"""Decoding with libsndfile: WAV, AIFF, AU, CAF, W64, VOC, Ogg and their like."""

from collections.abc import Iterator

import numpy as np
import soundfile

from shared.formats import SourceFacts
from worker.audio.errors import AudioUnreadable
from worker.audio.guard import GuardedFile
from worker.audio.sniff import Kind
from worker.audio.source import Block, Decoded

READ = 65_536
"""Frames a call: each has its price in Python."""
DEPTHS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64}
DEPTHS |= {"ALAC_16": 16, "ALAC_20": 20, "ALAC_24": 24, "ALAC_32": 32}
UNKNOWN_FRAMES = 2**40
"""libsndfile says about 2^63 where a header does not know the length."""


def open_soundfile(file: GuardedFile, kind: Kind) -> Decoded:
    """Open by libsndfile. Raises `AudioUnreadable` where it does not understand the content."""
    file.seek(0)
    try:
        sound = soundfile.SoundFile(file)
    except (soundfile.SoundFileError, TypeError, ValueError, OverflowError) as error:
        file.check()
        raise AudioUnreadable("The file is damaged, or its encoding is not supported.") from error
    promised = sound.frames if 0 <= sound.frames < UNKNOWN_FRAMES else None
    return Decoded(facts=_facts(sound, kind), promised=promised, blocks=_blocks(sound), close=sound.close)


def is_chained(file: GuardedFile) -> bool:
    """Whether an Ogg file holds several recordings one after the other, of which libsndfile reads just the first."""
    file.seek(0)
    first = file.read(18)[14:]
    file.seek(max(file.size - 65_536, 0))
    tail = file.read(65_536)
    last = tail.rfind(b"OggS\x00")
    return last >= 0 and tail[last + 14 : last + 18] not in (b"", first)


def _facts(sound: soundfile.SoundFile, kind: Kind) -> SourceFacts:
    depth = DEPTHS.get(sound.subtype)
    return SourceFacts(
        container=kind.container,
        codec=sound.subtype.lower(),
        sample_rate=sound.samplerate,
        channels=sound.channels,
        bit_depth=depth,
        floating=sound.subtype in ("FLOAT", "DOUBLE"),
        lossy=depth is None,
    )


def _read(sound: soundfile.SoundFile) -> Block:
    """Read a block; libsndfile passes 16 bits through in one go, and scales to floats in steps of 8 KB."""
    if sound.subtype != "PCM_16":
        return np.asarray(sound.read(READ, dtype="float32", always_2d=True))
    steps = sound.read(READ, dtype="int16", always_2d=True)
    return np.asarray(np.multiply(steps, np.float32(2**-15), dtype=np.float32))


def _blocks(sound: soundfile.SoundFile) -> Iterator[Block]:
    """Read to the end, or to where the data is damaged: what is before that is good."""
    while True:
        try:
            block = _read(sound)
        except (soundfile.SoundFileError, ValueError, OverflowError):
            return
        if not len(block):
            return
        yield block
