"""What a finished file says of itself, read back from its headers."""

from dataclasses import dataclass
from pathlib import Path

import soundfile

from worker.audio.soundfiles import DEPTHS


@dataclass(frozen=True)
class Written:
    """Form and length of a file; `codec` is libsndfile's subtype in lower case, `samples` are per channel."""

    codec: str
    sample_rate: int
    bit_depth: int | None
    channels: int
    samples: int


def read_back(path: Path) -> Written:
    """Open a file that was encoded here and read what it is."""
    with soundfile.SoundFile(path) as sound:
        return Written(
            codec=sound.subtype.lower(),
            sample_rate=sound.samplerate,
            bit_depth=DEPTHS.get(sound.subtype),
            channels=sound.channels,
            samples=sound.frames,
        )
