"""The measurement: rounds of package and ours in turn, and what surrounds them."""

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.engine.process import Contender, RefusedError, our_process, package_process
from bench.engine.work import gemm_peak, has_bf16
from bench.signals import speech_like
from shared.settings import Settings
from worker.models.constants import SAMPLE_RATE

PARTS = ("load", "clip", "windows")
"""What is measured beside the stages."""
_MULTIPLIED = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""What the matrix products are made of that a precision is held against."""

Start = Callable[[], AbstractContextManager[Contender]]


@dataclass(frozen=True)
class Asked:
    """What to measure, and on what."""

    weights: Path
    seconds: float
    clip: float
    rounds: int
    seed: int
    backend: str
    precisions: tuple[str, ...]
    threads: int
    parts: tuple[str, ...] = PARTS


@dataclass
class Side:
    """What was measured of one process: a figure for each round."""

    about: dict[str, Any] = field(default_factory=dict)
    load: list[float] = field(default_factory=list)
    build: list[float] = field(default_factory=list)
    first: float | None = None
    """From the start of the process to its first result."""
    run: list[dict[str, float]] = field(default_factory=list)
    clip: list[dict[str, float]] = field(default_factory=list)
    window: list[dict[str, float]] = field(default_factory=list)
    peak_bytes: int = 0
    """After the recording in one window."""
    window_peak_bytes: int = 0
    """After a window of the default size as well."""
    snr: dict[str, float] = field(default_factory=dict)


@dataclass
class Measured:
    """All that was measured: the package and each precision of ours, and the peak of matrix products by precision."""

    asked: Asked
    sides: dict[str, Side] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """Precisions that the backend does not have here, with its words."""
    peaks: dict[str, float] = field(default_factory=dict)


def measure(asked: Asked, say: Callable[[str], None]) -> Measured:
    """Measure; raises `RefusedError` where ours cannot run in any of the precisions."""
    found = Measured(asked)
    with tempfile.TemporaryDirectory(prefix="vfq-engine-") as folder, ExitStack() as stack:
        starts: dict[str, Start] = {"package": lambda: package_process(asked.weights, asked.threads)}
        for precision in asked.precisions:
            starts[precision] = partial(our_process, asked.weights, asked.backend, precision, asked.threads)
        _prepare(found, starts)
        recordings = _recordings(Path(folder), asked)
        running = {name: _enter(stack, found.sides[name], start, recordings) for name, start in starts.items()}
        say(f"loaded: {', '.join(f'{name} {one.load_seconds:.1f} s' for name, one in running.items())}")
        _load_again(found, starts)
        for number in range(asked.rounds):
            _round(found, running, recordings)
            times = (f"{name} {side.run[-1]['chain']:.1f} s" for name, side in found.sides.items())
            say(f"round {number + 1} of {asked.rounds}: {', '.join(times)}")
        _compare(found, running, recordings, Path(folder))
    return found


def _prepare(found: Measured, starts: dict[str, Start]) -> None:
    """Start each of ours once unseen, so that what a backend keeps for ever is made, and leave out who refuses."""
    for name in [name for name in starts if name != "package"]:
        try:
            with starts[name]():
                pass
        except RefusedError as error:
            found.refused[name] = str(error)
            del starts[name]
    if len(starts) == 1:
        raise RefusedError("; ".join(found.refused.values()))
    found.sides = {name: Side() for name in starts}


def _recordings(folder: Path, asked: Asked) -> dict[str, str]:
    """Write what both sides are given."""
    lengths = {"long": asked.seconds, "clip": asked.clip}
    for name, seconds in lengths.items():
        np.save(folder / name, speech_like(round(seconds * SAMPLE_RATE), asked.seed + 100))
    return {name: str(folder / f"{name}.npy") for name in lengths}


def _enter(stack: ExitStack, side: Side, start: Start, recordings: dict[str, str]) -> Contender:
    one = stack.enter_context(start())
    side.load.append(one.load_seconds)
    side.build.append(one.build_seconds)
    # Its first pass is a short one, and counts as nothing else.
    side.first = one.load_seconds + one.ask("run", audio=recordings["clip"])["seconds"]["chain"]
    return one


def _load_again(found: Measured, starts: dict[str, Start]) -> None:
    """Load in fresh processes that do nothing else, in turn."""
    if "load" not in found.asked.parts:
        return
    for _ in range(found.asked.rounds - 1):
        for name, start in starts.items():
            with start() as one:
                found.sides[name].load.append(one.load_seconds)
                found.sides[name].build.append(one.build_seconds)


def _round(found: Measured, running: dict[str, Contender], recordings: dict[str, str]) -> None:
    """Passes of each in turn: the short clip, the recording, and of ours one window inside a long file."""
    for precision in found.asked.precisions:
        if precision == "fp32" or has_bf16():
            rate = gemm_peak(_MULTIPLIED[precision], found.asked.threads)
            found.peaks[precision] = max(rate, found.peaks.get(precision, 0.0))
    if "clip" in found.asked.parts:
        for name, one in running.items():
            found.sides[name].clip.append(one.ask("run", audio=recordings["clip"])["seconds"])
    for name, one in running.items():
        answer = one.ask("run", audio=recordings["long"])
        found.sides[name].run.append(answer["seconds"])
        found.sides[name].peak_bytes = found.sides[name].peak_bytes or answer["peak_bytes"]
    if "windows" in found.asked.parts:
        # Of one precision, for the geometry costs the others the same share.
        name = next(name for name in running if name != "package")
        answer = running[name].ask("window", audio=recordings["long"], **default_geometry())
        found.sides[name].window.append(answer["seconds"])
        found.sides[name].window_peak_bytes = answer["peak_bytes"]


def _compare(found: Measured, running: dict[str, Contender], recordings: dict[str, str], folder: Path) -> None:
    """Hold ours against the package's last pass, which was over the recording."""
    reference = str(folder / "reference.npz")
    running["package"].ask("save", folder=reference)
    for name, one in running.items():
        if name != "package":
            found.sides[name].about = one.ask("about")
            found.sides[name].snr = one.ask("compare", audio=recordings["long"], reference=reference)["snr"]


def default_geometry() -> dict[str, int]:
    """Core, context and halo of the default settings, in frames."""
    names = ("core", "context", "halo")
    return {name: int(Settings.model_fields[f"{name}_frames"].default) for name in names}
