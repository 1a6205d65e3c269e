"""Does memory grow with a recording's length? A short and a long file through the whole stack.

``python -m bench.memory [--short-minutes 10] [--long-minutes 180]`` starts the one-machine stack with the weight-free
models, once for each file, and prints the peak memory (VmHWM) of every process. It exits 1 where a process needs
more than 1.15 times as much for the long file.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import soundfile

from bench.signals import speech_like
from worker.models.constants import SAMPLE_RATE

MOST = 1.15
#: Few iterations: memory is asked for here, not sound.
ITERATIONS = 2
_POLL_SECONDS = 1.0
_BLOCK_SECONDS = 60


@dataclass(frozen=True)
class Run:
    """One file through a fresh stack: how long it took, and the peak memory of each process in MiB."""

    minutes: float
    seconds: float
    peaks: dict[str, float]


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--short-minutes", type=float, default=10.0)
    parser.add_argument("--long-minutes", type=float, default=180.0)
    asked = parser.parse_args(arguments)
    short, long = (_measure(minutes) for minutes in (asked.short_minutes, asked.long_minutes))
    ratios = {name: long.peaks[name] / peak for name, peak in short.peaks.items()}
    _print(short, long, ratios)
    good = max(ratios.values()) <= MOST
    summary = {"bench": "memory", "most": MOST, "runs": [vars(short), vars(long)], "ratios": ratios, "passed": good}
    print(json.dumps(summary))
    return 0 if good else 1


def _measure(minutes: float) -> Run:
    with tempfile.TemporaryDirectory(prefix="vfq-memory-") as folder:
        recording = Path(folder, "recording.wav")
        _write(recording, minutes)
        with _stack(Path(folder, "data")) as (url, pid):
            began = time.monotonic()
            _restore(url, recording)
            return Run(minutes, round(time.monotonic() - began, 1), _peaks(pid))


def _write(path: Path, minutes: float) -> None:
    """Write so many minutes of the same spoken minute, 16 bit mono."""
    block = speech_like(_BLOCK_SECONDS * SAMPLE_RATE, 3)
    left = round(minutes * 60 * SAMPLE_RATE)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        while left > 0:
            file.write(block[:left])
            left -= len(block)


@contextmanager
def _stack(data: Path) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "cli.main", "up", "--json", "--port", "0", "--models", "baseline"]
    environment = {"VFQ_GRIFFIN_LIM_ITERATIONS": str(ITERATIONS)}
    process = subprocess.Popen(
        ["env", *(f"{name}={value}" for name, value in environment.items()), *command, "--data", str(data)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        ready: dict[str, Any] = json.loads(process.stdout.readline())
        yield str(ready["url"]), int(ready["pid"])
    finally:
        process.terminate()
        process.wait(60)


def _restore(url: str, recording: Path) -> None:
    with httpx.Client(base_url=url, timeout=600) as client:
        with recording.open("rb") as file:
            answer = client.post("/v1/jobs", files={"file": (recording.name, file)})
        answer.raise_for_status()
        job = answer.json()
        while job["status"] in ("queued", "processing"):
            time.sleep(_POLL_SECONDS)
            job = client.get(f"/v1/jobs/{job['id']}").json()
        if job["status"] != "succeeded":
            raise SystemExit(f"the job ended as {job['status']}: {job['error']}")
        with client.stream("GET", f"/v1/jobs/{job['id']}/result") as result:
            taken = sum(len(piece) for piece in result.iter_bytes())
        if taken != job["output"]["bytes"]:
            raise SystemExit(f"the result has {taken} bytes, the job says {job['output']['bytes']}")


def _peaks(root: int) -> dict[str, float]:
    """Peak memory of each process under *root*, by what it runs."""
    return {_name(pid, root): _peak(pid) for pid in _tree(root)}


def _tree(root: int) -> list[int]:
    children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    return [root, *(pid for child in children for pid in _tree(int(child)))]


def _name(pid: int, root: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
    if pid == root:
        return "stack"
    if "redis-server" in words:
        return "redis"
    return words.split("cli.main ")[-1] + f" [{_depth(pid, root)}]"


def _depth(pid: int, root: int) -> int:
    """Generations below the stack: gunicorn's server is a child of its arbiter and shares its command line."""
    depth = 0
    while pid != root:
        stat = Path(f"/proc/{pid}/stat").read_text()
        pid = int(stat.rpartition(")")[2].split()[1])
        depth += 1
    return depth


def _peak(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) / 1024, 1)


def _print(short: Run, long: Run, ratios: dict[str, float]) -> None:
    print(f"{'process':<44} {short.minutes:>7g} min {long.minutes:>8g} min   ratio")
    for name, ratio in ratios.items():
        print(f"{name:<44} {short.peaks[name]:>7.0f} MiB {long.peaks[name]:>8.0f} MiB {ratio:>7.2f}")
    print(f"{'whole job':<44} {short.seconds:>9.0f} s {long.seconds:>10.0f} s")


if __name__ == "__main__":
    sys.exit(main())
