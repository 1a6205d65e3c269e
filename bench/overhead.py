"""What does the way through the queue cost?

``python -m bench.overhead`` runs the service with networks that cost nothing and measures whole 3-second jobs through
the HTTP door and chunks of a long file. ``--real`` runs it with VoiceFixer's networks and compares long files with the
engine alone in this process, turn by turn. Each prints a table and a line of JSON, and exits 1 where a required figure
is not reached.
"""

import argparse
import io
import json
import os
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

from bench.alone import plan_of, restore_alone
from bench.service import COSTLESS_WORKER, PRODUCT_WORKER, Service, form_of, service
from bench.signals import speech_like
from bench.weights import ensure_weights
from shared.log import configure
from shared.settings import Settings, load_settings
from worker.arrays import Floats
from worker.engine import Engine
from worker.engine.load import load_engine
from worker.models.constants import SAMPLE_RATE

LEAST_CHUNKS = 40.0
LEAST_JOBS = 15.0
MOST_OVERHEAD = 0.05
"""Of the 5-minute file; the 30-minute file is told beside it."""
JOB_SECONDS = 3.0
_JOB_POLL, _FILE_POLL = 0.1, 0.2
"""Seconds between two looks at a job; a file's seconds are those of its record, whatever the looks."""
WARM_SECONDS = 75.0
"""Three windows: a first, one inside and a last."""
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
        short = short_jobs(running, jobs, asked.clients, rounds)
        long = {seconds: long_file(running, seconds, rounds) for seconds in lengths}
    _print_costless(short, long)
    good = short.median >= LEAST_JOBS and all(one.median >= LEAST_CHUNKS for one in long.values())
    return good, {
        "jobs_per_second": asdict(short),
        "chunks_per_second": {f"{seconds:g}": asdict(one) for seconds, one in long.items()},
        "least": {"jobs_per_second": LEAST_JOBS, "chunks_per_second": LEAST_CHUNKS},
    }


def short_jobs(running: Service, jobs: int, clients: int, rounds: int) -> Measured:
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


def long_file(running: Service, seconds: float, rounds: int, *, warm: float | None = None) -> Measured:
    """Chunks a second of one long file, from its acceptance to its end: split, restore, vocode and stitch.

    First the same file, or *warm* seconds of it, passes unmeasured.
    """
    form = form_of(wav_of(seconds))
    file_seconds(running, form_of(wav_of(warm)) if warm else form)
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
    return len(plan_of(round(seconds * SAMPLE_RATE), Settings()).windows)


def audio_of(seconds: float) -> Floats:
    """Repeat the same spoken minute for so many seconds, mono."""
    minute = speech_like(round(min(seconds, _MINUTE) * SAMPLE_RATE), 3)
    return np.resize(minute, round(seconds * SAMPLE_RATE))


def wav_of(seconds: float) -> bytes:
    """Make a 16-bit WAV of it."""
    file = io.BytesIO()
    soundfile.write(file, audio_of(seconds), SAMPLE_RATE, "PCM_16", format="WAV")
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


@dataclass(frozen=True)
class Compared:
    """One length: the seconds of each round with the whole stack and with the engine alone, taken turn by turn.

    `overhead` is the median over the rounds of what the stack takes more, as a share of the engine alone.
    `cpu_overhead` is the same of processor time: other work on the machine changes it less.
    """

    stack: list[float]
    alone: list[float]
    overhead: float
    cpu_overhead: float


def _real(asked: argparse.Namespace) -> tuple[bool, dict[str, object]]:
    lengths = asked.seconds or ([60.0] if asked.quick else [300.0, 1800.0])
    weights = asked.weights or ensure_weights(Path("build/random-weights-seed0"))
    environment = {"VFQ_WEIGHTS_DIR": str(weights.resolve()), "VFQ_WEIGHTS_UNVERIFIED": "true"}
    os.environ.update(environment)
    settings = load_settings()
    configure(settings)
    engine = load_engine(settings, ("restore", "vocode"))
    with (
        tempfile.TemporaryDirectory(prefix="vfq-overhead-") as folder,
        service(Path(folder), workers=[PRODUCT_WORKER], environment=environment) as running,
    ):
        _compare(running, engine, settings, WARM_SECONDS, 1)
        found = {seconds: _compare(running, engine, settings, seconds, asked.rounds or 1) for seconds in lengths}
    engine.close()
    _print_real(found)
    good = all(one.overhead <= MOST_OVERHEAD for one in found.values())
    return good, {"overhead": {f"{seconds:g}": asdict(one) for seconds, one in found.items()}, "most": MOST_OVERHEAD}


def _compare(running: Service, engine: Engine, settings: Settings, seconds: float, rounds: int) -> Compared:
    form, audio = form_of(wav_of(seconds)), audio_of(seconds)
    plan = plan_of(len(audio), settings)
    alone, stack, cpu = [], [], []
    for _ in range(rounds):
        began = time.process_time()
        alone.append(restore_alone(engine, audio, plan))
        bare, before = time.process_time() - began, running.cpu_seconds()
        stack.append(file_seconds(running, form))
        cpu.append((sum(running.cpu_seconds().values()) - sum(before.values())) / bare - 1)
    overhead = statistics.median(whole / bare - 1 for whole, bare in zip(stack, alone, strict=True))
    return Compared(
        [round(one, 3) for one in stack],
        [round(one, 3) for one in alone],
        round(overhead, 4),
        round(statistics.median(cpu), 4),
    )


def _print_real(found: dict[float, Compared]) -> None:
    print(
        f"{'real networks':<14} {'engine alone':>14} {'whole stack':>14} {'overhead':>9} {'processor':>10} {'speed':>9}"
    )
    for seconds, one in found.items():
        alone, stack = statistics.median(one.alone), statistics.median(one.stack)
        shares = f"{one.overhead:>9.1%} {one.cpu_overhead:>10.1%}"
        print(f"{f'{seconds:g} s':<14} {alone:>12.2f} s {stack:>12.2f} s {shares} {seconds / stack:>7.2f} x")


if __name__ == "__main__":
    sys.exit(main())
