"""An archive to be restored: short recordings in folders, under names as people give them, and broken ones between."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from bench.overhead import audio_of
from worker.models.constants import SAMPLE_RATE

#: Lengths of the good ones; costless networks give equal lengths equal sounds, so their checksums are known.
_SECONDS = (0.4, 0.7, 1.0, 1.3, 1.7, 2.0, 2.4, 3.0)
_FORMS = (("wav", "PCM_16"), ("flac", "PCM_16"), ("aiff", "PCM_24"), ("wav", "PCM_24"), ("ogg", "VORBIS"))
_PER_FOLDER = 40
_FEWEST_KINDS = 6


@dataclass
class Made:
    """
    An archive that was made.

    Attributes:
        good: path of each good recording, and the kind that it is one of
        broken: paths of the broken ones
        strangers: paths of what is no audio
        kinds: a recording of each kind

    """

    good: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    kinds: dict[str, bytes] = field(default_factory=dict)


def make_archive(folder: Path, good: int, broken: int) -> Made:
    """Write an archive of so many recordings."""
    made = Made()
    kinds = [(seconds, *form) for seconds in _SECONDS for form in _FORMS][: max(_FEWEST_KINDS, good // 10)]
    for seconds, form, subtype in kinds:
        made.kinds[f"{seconds} {form} {subtype}"] = _encoded(audio_of(seconds), form, subtype)
    for number in range(good):
        seconds, extension, subtype = kinds[number % len(kinds)]
        kind = f"{seconds} {extension} {subtype}"
        path = f"shelf {number // _PER_FOLDER:02d}/{_name(number)}.{extension}"
        _write(folder, path, made.kinds[kind])
        made.good[path] = kind
    faults = list(_FAULTS.items())
    for number in range(broken):
        name, fault = faults[number % len(faults)]
        path = f"shelf {number % max(1, good // _PER_FOLDER):02d}/broken {number:02d} {name}"
        _write(folder, path, fault())
        made.broken.append(path)
    for path in ("notes.txt", ".DS_Store", "shelf 00/cover.jpg", "shelf 00/._take.wav"):
        _write(folder, path, b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")
        made.strangers.append(path)
    return made


def _name(number: int) -> str:
    """Each name but its number is odd in some way now and then; every name comes in one form alone."""
    if number % 50 == 7:
        return os.fsdecode(b"latin-1 \xe9t\xe9 %d" % number)
    if number % 50 == 11:
        return f"two\nlines {number}"
    return f"Übung {number}" if number % 50 == 13 else f"take {number:04d}"


def _write(folder: Path, path: str, data: bytes) -> None:
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)


def _encoded(samples: np.ndarray, form: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, subtype, format=form.upper())
    return file.getvalue()


def _not_finite() -> bytes:
    samples = audio_of(0.5).copy()
    samples[1000] = np.nan
    return _encoded(samples, "wav", "FLOAT")


#: What is wrong, by the name that such a file gets.
_FAULTS: dict[str, Callable[[], bytes]] = {
    "empty.wav": lambda: b"",
    "text.mp3": lambda: b"this was a recording once\n" * 40,
    "cut.flac": lambda: _encoded(audio_of(1.0), "flac", "PCM_16")[:30],
    "header.wav": lambda: _encoded(np.zeros(0, np.float32), "wav", "PCM_16"),
    "zeros.m4a": lambda: bytes(5000),
    "nan.wav": _not_finite,
    "nine.wav": lambda: _encoded(np.zeros((4410, 9), np.float32), "wav", "PCM_16"),
    "half.mkv": lambda: b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 8,
}
