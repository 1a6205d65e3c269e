"""Do a ten-hour job, a thousand small ones and a few interactive ones share the workers?

``python -m bench.fair`` submits a recording of ten hours and a thousand of three seconds as bulk jobs, and an
interactive job every two seconds meanwhile, to a service whose networks cost nothing. It prints how long each kind
waited and what the long job got done while the small ones were served, and exits 1 where an interactive job waited for
more than two seconds or the long job stood still.
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.memory import write_recording
from bench.overhead import wav_of
from bench.service import COSTLESS_WORKER, OVER, Service, form_of, service

MOST_WAIT_SECONDS = 2.0
LEAST_SHARE = 0.02
"""Of the chunks done meanwhile that must be the long job's: were it alone with four small ones, it would be more."""
_SMALL_SECONDS = 3.0
_CLIENTS = 4
_PAUSE_SECONDS = 2.0


@dataclass(frozen=True)
class Waited:
    """Seconds from submission until a worker began, and until the end."""

    jobs: int
    wait_median: float
    wait_worst: float
    total_median: float
    total_worst: float


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.fair", description=__doc__)
    parser.add_argument("--hours", type=float, default=10.0, help="of the long recording")
    parser.add_argument("--small", type=int, default=1000, help="jobs of three seconds")
    asked = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="vfq-fair-") as folder,
        service(Path(folder, "data"), workers=[COSTLESS_WORKER]) as running,
    ):
        recording = Path(folder, "long.wav")
        write_recording(recording, asked.hours * 60)
        long = _begin_long(running, recording)
        before = _chunks(running, long)
        small, interactive = _storm(running, asked.small)
        done = _chunks(running, long) - before
    share = done / max(1, done + 2 * (small.jobs + interactive.jobs))
    good = interactive.wait_worst <= MOST_WAIT_SECONDS and share >= LEAST_SHARE
    _print({"small": small, "interactive": interactive}, done, share)
    told = {"small": asdict(small), "interactive": asdict(interactive), "long_chunks": done, "share": round(share, 3)}
    print(json.dumps({"bench": "fair", "hours": asked.hours, **told, "passed": good}))
    return 0 if good else 1


def _begin_long(running: Service, recording: Path) -> str:
    """Submit the long recording and wait until it is split."""
    with running.door() as door:
        job_id = str(door.submit(form_of(recording.read_bytes(), priority="bulk"))["id"])
        while (job := door.job(job_id))["progress"]["stage"] == "split":
            if job["status"] in OVER:
                raise SystemExit(f"the long job {job['status']}: {job['error']}")
            time.sleep(0.2)
    return job_id


def _chunks(running: Service, job_id: str) -> int:
    """Vocoded chunks of a job so far, and as many restored ones."""
    with running.door() as door:
        progress = door.job(job_id)["progress"]
    return 2 * round(float(progress["done_seconds"]) / 30.08)


def _storm(running: Service, small: int) -> tuple[Waited, Waited]:
    """Submit small jobs at once, and an interactive one now and then until they are over."""
    form = wav_of(_SMALL_SECONDS)
    ids: list[list[str]] = [[] for _ in range(_CLIENTS)]

    def send(number: int) -> None:
        with running.door() as door:
            for _ in range(number, small, _CLIENTS):
                ids[number].append(str(door.submit(form_of(form, priority="bulk"))["id"]))

    threads = [threading.Thread(target=send, args=[number]) for number in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    interactive: list[dict[str, Any]] = []
    with running.door() as door:
        while any(thread.is_alive() for thread in threads) or door.job(ids[-1][-1])["status"] not in OVER:
            interactive.append(door.wait(str(door.submit(form_of(form))["id"]), every=0.05))
            time.sleep(_PAUSE_SECONDS)
        jobs = [door.wait(job_id, every=0.1) for one in ids for job_id in one]
    return _waited(jobs), _waited(interactive)


def _waited(jobs: Sequence[dict[str, Any]]) -> Waited:
    waits = [float(job["metrics"]["queue_seconds"]) for job in jobs]
    totals = [wait + float(job["metrics"]["processing_seconds"]) for wait, job in zip(waits, jobs, strict=True)]
    figures = (statistics.median(waits), max(waits), statistics.median(totals), max(totals))
    return Waited(len(jobs), *(round(one, 3) for one in figures))


def _print(kinds: dict[str, Waited], chunks: int, share: float) -> None:
    print(f"{'jobs':<16} {'number':>7} {'wait, median':>13} {'worst':>8} {'whole, median':>14} {'worst':>8}")
    for name, one in kinds.items():
        waits = f"{one.wait_median:>11.2f} s {one.wait_worst:>6.2f} s"
        print(f"{name:<16} {one.jobs:>7} {waits} {one.total_median:>12.2f} s {one.total_worst:>6.2f} s")
    print(f"the long job got {chunks} chunks done meanwhile, {share:.1%} of all")


if __name__ == "__main__":
    sys.exit(main())
