"""What does the way through the queue cost?

``python -m bench.overhead`` runs the service with networks that cost nothing and measures whole 3-second jobs through
the HTTP door and chunks of a long file. ``--real`` runs it with VoiceFixer's networks and compares long files with the
engine alone in this process, turn by turn. Each prints a table and a line of JSON, and exits 1 where a required figure
is not reached.
"""

import argparse
import io
import json
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import soundfile

from bench.service import COSTLESS_WORKER, Service, form_of, service
from bench.signals import speech_like
from worker.models.constants import SAMPLE_RATE

LEAST_CHUNKS = 40.0
LEAST_JOBS = 15.0
MOST_OVERHEAD = 0.05
"""Of the 5-minute file; the 30-minute file is told beside it."""
JOB_SECONDS = 3.0
_JOB_POLL, _FILE_POLL = 0.1, 0.02
_MINUTE = 60


@dataclass(frozen=True)
class Measured:
    """One measurement: the rounds' figures, their median, and the processor time of each process in the median's unit.

    `cpu_ms` is milliseconds of processor time per job or chunk, by process.
    """

    rounds: list[float]
    median: float
    cpu_ms: dict[str, float]


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    asked = _parser().parse_args(arguments)
    good, summary = (_real if asked.real else _costless)(asked)
    print(
        json.dumps({"bench": "overhead", "networks": "real" if asked.real else "costless", **summary, "passed": good})
    )
    return 0 if good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.overhead", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200, help="3-second jobs of a round (costless)")
    parser.add_argument("--clients", type=int, default=4, help="clients that submit at once (costless)")
    parser.add_argument("--seconds", type=float, nargs="+", help="lengths of the files; by default 1800, real 300 1800")
    parser.add_argument("--rounds", type=int, help="of each measurement; by default 3, real 1")
    parser.add_argument("--quick", action="store_true", help="shorter files and fewer jobs: 300 s; real 60 s")
    parser.add_argument("--real", action="store_true", help="VoiceFixer's networks against the engine alone")
    parser.add_argument("--weights", type=Path, help="folder with the weights; by default random ones (real)")
    return parser


def _costless(asked: argparse.Namespace) -> tuple[bool, dict[str, object]]:
    rounds = asked.rounds or 3
    jobs = min(asked.jobs, 60) if asked.quick else asked.jobs
    lengths = asked.seconds or ([300.0] if asked.quick else [1800.0])
    with (
        tempfile.TemporaryDirectory(prefix="vfq-overhead-") as folder,
        service(Path(folder), workers=[COSTLESS_WORKER]) as running,
    ):
        short = _short_jobs(running, jobs, asked.clients, rounds)
        long = {seconds: _chunks(running, seconds, rounds) for seconds in lengths}
    _print_costless(short, long)
    good = short.median >= LEAST_JOBS and all(one.median >= LEAST_CHUNKS for one in long.values())
    return good, {
        "jobs_per_second": asdict(short),
        "chunks_per_second": {f"{seconds:g}": asdict(one) for seconds, one in long.items()},
        "least": {"jobs_per_second": LEAST_JOBS, "chunks_per_second": LEAST_CHUNKS},
    }


def _short_jobs(running: Service, jobs: int, clients: int, rounds: int) -> Measured:
    """Whole jobs a second: sent, waited for and fetched by several clients at once."""
    form = form_of(wav_of(JOB_SECONDS))
    _storm(running, form, 2 * clients, clients)
    rates, before = [], running.cpu_seconds()
    for _ in range(rounds):
        began = time.perf_counter()
        _storm(running, form, jobs, clients)
        rates.append(jobs / (time.perf_counter() - began))
    return _measured(rates, running, before, rounds * jobs)


def _storm(running: Service, form: bytes, jobs: int, clients: int) -> None:
    shares = [len(range(number, jobs, clients)) for number in range(clients)]
    errors: list[BaseException] = []

    def serve(share: int) -> None:
        try:
            _one_client(running, form, share)
        except BaseException as error:  # a thread's SystemExit would pass unseen
            errors.append(error)

    threads = [threading.Thread(target=serve, args=[share]) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _one_client(running: Service, form: bytes, jobs: int) -> None:
    with running.door() as door:
        ids = [door.submit(form)["id"] for _ in range(jobs)]
        for job_id in ids:
            door.wait(job_id, every=_JOB_POLL)
            door.result(job_id)


def _chunks(running: Service, seconds: float, rounds: int) -> Measured:
    """Chunks a second of one long file, from its acceptance to its end: split, restore, vocode and stitch."""
    form = form_of(wav_of(seconds))
    file_seconds(running, form)
    rates, before = [], running.cpu_seconds()
    for _ in range(rounds):
        rates.append(chunks_of(seconds) / file_seconds(running, form))
    return _measured(rates, running, before, rounds * chunks_of(seconds))


def file_seconds(running: Service, form: bytes) -> float:
    """Send a file, wait for it, delete it; gives the seconds from its acceptance to its end."""
    with running.door() as door:
        job = door.wait(door.submit(form)["id"], every=_FILE_POLL)
        door.delete(job["id"])
        ended, accepted = (datetime.fromisoformat(job[name]) for name in ("completed_at", "created_at"))
        return (ended - accepted).total_seconds()


def chunks_of(seconds: float) -> int:
    """Tell how many windows a file of so many seconds falls into with the default sizes."""
    from shared.settings import Settings
    from worker.chunks import Geometry, plan_windows
    from worker.plan import frames_of

    sizes = Settings()
    geometry = Geometry(core=sizes.core_frames, context=sizes.context_frames, halo=sizes.halo_frames)
    return len(plan_windows(frames_of(round(seconds * SAMPLE_RATE)), geometry))


def wav_of(seconds: float) -> bytes:
    """Make a WAV of so many seconds of the same spoken minute, 16 bit mono."""
    minute = speech_like(round(min(seconds, _MINUTE) * SAMPLE_RATE), 3)
    file = io.BytesIO()
    soundfile.write(file, np.resize(minute, round(seconds * SAMPLE_RATE)), SAMPLE_RATE, "PCM_16", format="WAV")
    return file.getvalue()


def _measured(rates: list[float], running: Service, before: dict[str, float], units: int) -> Measured:
    after = running.cpu_seconds()
    spent = {name: round(1000 * (after[name] - value) / units, 2) for name, value in before.items()}
    return Measured([round(rate, 2) for rate in rates], round(statistics.median(rates), 2), spent)


def _print_costless(short: Measured, long: dict[float, Measured]) -> None:
    rows = [("3-second jobs/s", LEAST_JOBS, short)]
    rows += [(f"chunks/s of {seconds:g} s", LEAST_CHUNKS, one) for seconds, one in long.items()]
    print(f"{'costless networks':<24} {'least':>7} {'median':>8}  processor ms for one, by process")
    for name, least, one in rows:
        costs = ", ".join(f"{process} {spent:g}" for process, spent in one.cpu_ms.items())
        print(f"{name:<24} {least:>7g} {one.median:>8.1f}  {costs}")


def _real(asked):
    raise NotImplementedError


if __name__ == "__main__":
    sys.exit(main())
