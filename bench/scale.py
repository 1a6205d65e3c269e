"""What do more model workers bring on this machine?

``python -m bench.scale [--workers 1 2] [--real]`` runs the service with so many model workers, one number after the
other, and measures whole 3-second jobs and chunks of a long file. With networks that cost nothing it shows where the
queue, the API and the audio worker end; with VoiceFixer's, whose threads share the cores, whether several processes
beat one. It prints a table and a line of JSON, and exits 1 where more workers lose more than a tenth.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.overhead import WARM_SECONDS, Measured, long_file, short_jobs
from bench.service import COSTLESS_WORKER, PRODUCT_WORKER, service
from bench.weights import ensure_weights

LEAST = 0.9
"""Of what one worker does: more must not do harm."""


@dataclass(frozen=True)
class Row:
    """One number of workers."""

    workers: int
    chunks: Measured
    jobs: Measured | None


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    asked = _parser().parse_args(arguments)
    rows = [_measure(asked, workers) for workers in asked.workers]
    _print(asked, rows)
    good = all(row.chunks.median >= LEAST * rows[0].chunks.median for row in rows)
    summary = {"bench": "scale", "networks": "real" if asked.real else "costless", "cores": os.cpu_count()}
    print(json.dumps({**summary, "least": LEAST, "rows": [asdict(row) for row in rows], "passed": good}))
    return 0 if good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of model workers")
    parser.add_argument("--seconds", type=float, help="length of the file; by default 900, real 150")
    parser.add_argument("--jobs", type=int, default=100, help="3-second jobs of a round (costless)")
    parser.add_argument("--clients", type=int, default=4, help="clients that submit at once (costless)")
    parser.add_argument("--rounds", type=int, help="of each measurement; by default 3, real 1")
    parser.add_argument("--real", action="store_true", help="VoiceFixer's networks")
    parser.add_argument("--weights", type=Path, help="folder with the weights; by default random ones (real)")
    return parser


def _measure(asked: argparse.Namespace, workers: int) -> Row:
    command = PRODUCT_WORKER if asked.real else COSTLESS_WORKER
    seconds = asked.seconds or (150.0 if asked.real else 900.0)
    rounds = asked.rounds or (1 if asked.real else 3)
    with (
        tempfile.TemporaryDirectory(prefix="vfq-scale-") as folder,
        service(Path(folder), workers=[command] * workers, environment=_environment(asked, workers)) as running,
    ):
        jobs = None if asked.real else short_jobs(running, asked.jobs, asked.clients, rounds)
        warm = WARM_SECONDS if asked.real else None
        return Row(workers, long_file(running, seconds, rounds, warm=warm), jobs)


def _environment(asked: argparse.Namespace, workers: int) -> dict[str, str]:
    """Give the networks of each worker their share of the cores, and enough of a file at once to keep all busy."""
    shared = {"VFQ_IN_FLIGHT": str(max(4, 4 * workers))}
    if not asked.real:
        return shared
    weights = asked.weights or ensure_weights(Path("build/random-weights-seed0"))
    threads = max(1, (os.cpu_count() or 1) // workers)
    return {
        **shared,
        "VFQ_WEIGHTS_DIR": str(weights.resolve()),
        "VFQ_WEIGHTS_UNVERIFIED": "true",
        "VFQ_THREADS": str(threads),
    }


def _print(asked: argparse.Namespace, rows: list[Row]) -> None:
    networks = "real" if asked.real else "costless"
    print(f"{networks + ' networks':<18} {'chunks/s':>9} {'ratio':>6} {'jobs/s':>8} {'ratio':>6}  busiest processes")
    for row in rows:
        jobs = f"{row.jobs.median:>8.1f} {_ratio(row.jobs, rows[0].jobs):>6}" if row.jobs else f"{'':>8} {'':>6}"
        costs = sorted(row.chunks.cpu_ms.items(), key=lambda item: -item[1])[:4]
        busiest = ", ".join(f"{name} {spent:g} ms" for name, spent in costs)
        name = f"{row.workers} worker{'s' if row.workers > 1 else ''}"
        print(f"{name:<18} {row.chunks.median:>9.2f} {_ratio(row.chunks, rows[0].chunks):>6} {jobs}  {busiest} a chunk")


def _ratio(one: Measured, first: Measured | None) -> str:
    return f"{one.median / first.median:.2f}" if first else ""


if __name__ == "__main__":
    sys.exit(main())
