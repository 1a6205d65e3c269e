"""A measured process from outside: started, asked over a pipe, ended."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.reference import HOMES

ROOT = Path(__file__).parents[2]
_STOP_SECONDS = 30


class RefusedError(Exception):
    """The process cannot do what it was started for, and says why."""


@dataclass(frozen=True)
class Contender:
    """A running process.

    Attributes:
        load_seconds: from the start of the process until it takes requests.
        build_seconds: of these, loading the models.
    """

    name: str
    process: "subprocess.Popen[str]"
    load_seconds: float
    build_seconds: float

    def ask(self, do: str, **request: object) -> dict[str, Any]:
        """Give a request and wait for its answer."""
        assert self.process.stdin is not None
        print(json.dumps({"do": do, **request}), file=self.process.stdin, flush=True)
        return _answer(self.name, self.process)


@contextmanager
def contender(name: str, module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Iterator[Contender]:
    """Start ``python -m module``; raises `RefusedError`, and `RuntimeError` where the process ends."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    try:
        ready = _answer(name, process)
        yield Contender(name, process, time.perf_counter() - began, ready["build_seconds"])
    finally:
        _stop(process)


@contextmanager
def package_process(weights: Path, threads: int) -> Iterator[Contender]:
    """Start the voicefixer package on these weights; a temporary home leads it to them."""
    with tempfile.TemporaryDirectory(prefix="vfq-engine-") as folder:
        for file, place in HOMES.items():
            (Path(folder) / place).mkdir(parents=True)
            (Path(folder) / place / file).symlink_to((weights / file).resolve())
        environment = {"HOME": folder, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": str(threads)}
        with contender("package", "bench.engine.package", [str(threads)], environment) as running:
            yield running


@contextmanager
def our_process(weights: Path, backend: str, precision: str, threads: int) -> Iterator[Contender]:
    """Start ours. Raises `RefusedError` where the backend is not here."""
    arguments = [str(weights.resolve()), backend, precision, str(threads)]
    with contender(precision, "bench.engine.start", arguments, {"OMP_NUM_THREADS": str(threads)}) as running:
        yield running


def _answer(name: str, process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the process of {name} ended; its words are above")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise RefusedError(answer["error"])
    return answer


def _stop(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()
