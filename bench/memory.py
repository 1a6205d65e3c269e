"""Does memory grow with a recording's length? A short and a long recording, each through a service of its own.

``python -m bench.memory [--hours 10]`` runs Redis, the API, an audio worker and a model worker on one recording of ten
minutes, then fresh ones on one of ten hours, and prints the peak memory (VmHWM) of every process. It exits 1 where a
process needs more than 1.15 times as much for the long one.

The networks are stand-ins that cost nothing: what a pass of a real network needs depends on its window, which has one
size, and would hide what grows. ``--networks baseline`` runs the weight-free models instead, some ten times longer.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import soundfile
import soxr

from bench.service import COSTLESS_WORKER, OVER, PRODUCT_WORKER, Service, service
from bench.signals import SAMPLE_RATE, speech_like

MOST = 1.15
SOURCE_RATE = 16_000
"""Of the recordings, so that ten hours are no larger than an upload may be, and are converted there and back."""
BYTES_A_SECOND = 640_000
"""That a job needs on the disk at most: the recording, the working audio, mels, windows and the result."""
BASELINE = {
    "VFQ_RESTORER": "SpectralGateRestorer",
    "VFQ_VOCODER": "GriffinLimVocoder",
    "VFQ_GRIFFIN_LIM_ITERATIONS": "2",  # memory is asked for here, not sound
}
_POLL_SECONDS = 1.0
_MINUTE = 60


@dataclass(frozen=True)
class Run:
    """One recording through a fresh service: how long it took, and the peak memory of each process in MiB."""

    minutes: float
    seconds: float
    peaks: dict[str, float]


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--short-minutes", type=float, default=10.0)
    parser.add_argument("--hours", type=float, default=10.0, help="of the long recording")
    parser.add_argument("--networks", choices=("costless", "baseline"), default="costless")
    asked = parser.parse_args(arguments)
    _check_room(asked.hours * 3600 * BYTES_A_SECOND)
    print(f"a recording of {asked.short_minutes:g} minutes and one of {asked.hours:g} hours, {asked.networks} networks")
    short, long = (_measure(minutes, asked.networks) for minutes in (asked.short_minutes, asked.hours * 60))
    ratios = compare(short, long)
    _print(short, long, ratios)
    good = max(ratios.values()) <= MOST
    runs = [vars(short), vars(long)]
    told = {"bench": "memory", "networks": asked.networks, "most": MOST, "runs": runs, "ratios": ratios, "passed": good}
    print(json.dumps(told))
    return 0 if good else 1


def compare(short: Run, long: Run) -> dict[str, float]:
    """How many times as much each process needed for the long recording; both must have the same processes."""
    if short.peaks.keys() != long.peaks.keys():
        raise SystemExit(f"the services differ: {', '.join(short.peaks)}, and {', '.join(long.peaks)}")
    return {name: long.peaks[name] / peak for name, peak in short.peaks.items()}


def _check_room(needed: float) -> None:
    folder = tempfile.gettempdir()
    if shutil.disk_usage(folder).free < needed:
        raise SystemExit(
            f"this needs {needed / 1e9:.0f} GB in {folder}; name a larger place in TMPDIR, or fewer --hours"
        )


def _measure(minutes: float, networks: str) -> Run:
    worker = PRODUCT_WORKER if networks == "baseline" else COSTLESS_WORKER
    with tempfile.TemporaryDirectory(prefix="vfq-memory-") as folder:
        recording = Path(folder, "recording.wav")
        write_recording(recording, minutes)
        with service(Path(folder, "data"), workers=[worker], environment=BASELINE) as running:
            began = time.monotonic()
            _restore(f"http://127.0.0.1:{running.port}", recording)
            return Run(minutes, round(time.monotonic() - began, 1), dict(_peaks(running)))


def write_recording(path: Path, minutes: float) -> None:
    """Write so many minutes of the same spoken minute, 16 bit mono."""
    block = soxr.resample(speech_like(_MINUTE * SAMPLE_RATE, 3), SAMPLE_RATE, SOURCE_RATE)
    left = round(minutes * _MINUTE * SOURCE_RATE)
    with soundfile.SoundFile(path, "w", SOURCE_RATE, 1, "PCM_16") as file:
        while left > 0:
            file.write(block[:left])
            left -= len(block)


def _restore(url: str, recording: Path) -> None:
    with httpx.Client(base_url=url, timeout=600) as client:
        with recording.open("rb") as file:
            answer = client.post("/v1/jobs", files={"file": (recording.name, file)})
        answer.raise_for_status()
        job = answer.json()
        while job["status"] not in OVER:
            time.sleep(_POLL_SECONDS)
            job = client.get(f"/v1/jobs/{job['id']}").json()
        if job["status"] != "succeeded":
            raise SystemExit(f"the job ended as {job['status']}: {job['error']}")
        with client.stream("GET", f"/v1/jobs/{job['id']}/result") as result:
            taken = sum(len(piece) for piece in result.iter_bytes())
        if taken != job["output"]["bytes"]:
            raise SystemExit(f"the result has {taken} bytes, the job says {job['output']['bytes']}")


def _peaks(running: Service) -> Iterator[tuple[str, float]]:
    """Peak memory of every process of the service, by its program and its place among that one's children."""
    for name, pid in running.supervisor.pids().items():
        for place, member in enumerate(_tree(pid)):
            yield (f"{name}, child {place}" if place else name), _peak(member)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from _tree(int(child))


def _peak(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) / 1024, 1)


def _print(short: Run, long: Run, ratios: dict[str, float]) -> None:
    print(f"{'process':<24} {short.minutes:>9g} min {long.minutes:>9g} min   ratio")
    for name, ratio in ratios.items():
        print(f"{name:<24} {short.peaks[name]:>9.0f} MiB {long.peaks[name]:>9.0f} MiB {ratio:>7.2f}")
    print(f"{'whole job':<24} {short.seconds:>11.0f} s {long.seconds:>11.0f} s")


if __name__ == "__main__":
    sys.exit(main())
