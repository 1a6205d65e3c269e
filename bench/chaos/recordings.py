"""The kinds of jobs of a run: a handful of recordings and options, whose results are known."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import soundfile

from bench.alone import plan_of
from bench.service import form_of
from shared.settings import Settings
from worker.models.constants import SAMPLE_RATE

#: Recordings of speech's rate: they are converted there and back, and their results are of it.
_RATE = 16_000
_SECONDS = (6.0, 7.5, 9.0, 10.5, 12.0, 14.0)
_MODES = ("0", "1", "2")


@dataclass(frozen=True)
class Kind:
    """
    A job that is submitted again and again.

    Attributes:
        name: also in the job's metadata, by which one is known that nobody acknowledged
        form: what is sent
        calls: of networks that it needs

    """

    name: str
    form: bytes = field(repr=False)
    calls: int


def make_kinds(seed: int, settings: Settings) -> list[Kind]:
    """Make the kinds of a seed: mono, so that each window is one call of each network."""
    kinds = []
    for number, seconds in enumerate(_SECONDS):
        options = {"mode": _MODES[number % len(_MODES)], "priority": "bulk" if number == 1 else "interactive"}
        name = f"{seconds:g} s, mode {options['mode']}"
        windows = len(plan_of(round(seconds * SAMPLE_RATE), settings).windows)
        form = form_of(_recording(seconds, seed, number), metadata=json.dumps({"kind": name}), **options)
        kinds.append(Kind(name, form, 2 * windows))
    return kinds


def kind_of(metadata: Mapping[str, object]) -> str:
    """Tell the name of a job's kind."""
    return str(metadata.get("kind", ""))


def _recording(seconds: float, seed: int, number: int) -> bytes:
    """Noise whose loudness wanders, as WAV: no two windows of it are alike."""
    dice = np.random.default_rng([seed, number])
    samples = round(seconds * _RATE)
    slow = np.arange(0, samples + _RATE, _RATE // 4)
    loudness = np.interp(np.arange(samples), slow, dice.random(len(slow)))
    audio = 0.3 * loudness * dice.standard_normal(samples)
    file = io.BytesIO()
    soundfile.write(file, audio.clip(-0.9, 0.9), _RATE, "PCM_16", format="WAV")
    return file.getvalue()
