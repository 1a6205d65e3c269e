"""One trial: an archive, a service, runs that are killed, one that is not, and what came of it."""

import http.client
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.archive.check import archive_jobs, shortcomings
from bench.archive.recordings import Made, make_archive
from bench.archive.runs import Asked, read_report, run_killed, run_to_end
from bench.archive.watch import Seen, Watch
from bench.service import COSTLESS_WORKER, Door, Service, form_of, service
from shared.records import connect
from tests.support.redis import redis_server


@dataclass
class Trial:
    """
    What came of it.

    Attributes:
        status: exit status of the last run
        problems: what is not as it must be
        seconds: of each run
        idle_seconds: of a run after the last one, which finds nothing to do
        jobs: that were made
        errors: how often each code was given as a reason

    """

    status: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    idle_seconds: float = 0.0
    restored: int = 0
    failed: int = 0
    jobs: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    seen: Seen = field(default_factory=Seen)


def try_out(folder: Path, files: int, broken: int, kills: int, jobs: int) -> Trial:
    """Restore an archive of *files* good and *broken* bad recordings, with *kills* of the command on the way."""
    made = make_archive(folder / "in", files, broken)
    trial = Trial()
    with _service(folder) as (running, client):
        right = _alone(running, made)
        asked = Asked(folder / "in", folder / "out", folder / "report.jsonl", f"http://127.0.0.1:{running.port}", jobs)
        before = _checksums(folder / "in")
        with Watch(running, client) as watch:
            for number in range(kills):
                lines = 1 + (files + broken) * (number + 1) // (kills + 1)
                trial.seconds.append(run_killed(asked, lines, *(("--resume",) if number else ())))
            trial.status, seconds = run_to_end(asked, *(("--resume",) if kills else ()))
            trial.seconds.append(seconds)
        trial.seen = watch.seen
        report = read_report(asked.report)
        made_jobs = _jobs(running)
        trial.problems = shortcomings(made, folder / "out", report, right, made_jobs)
        again, trial.idle_seconds = run_to_end(asked, "--resume")
        if again != trial.status or len(_jobs(running)) != len(made_jobs):
            trial.problems.append(f"a run with nothing to do ended with {again}, or made jobs")
    if _checksums(folder / "in") != before:
        trial.problems.append("the recordings have changed")
    statuses = Counter(line["status"] for line in report.values())
    trial.restored, trial.failed = statuses["restored"] + statuses["unchanged"], statuses["failed"]
    trial.errors = dict(Counter(line["error"]["code"] for line in report.values() if line["error"]))
    trial.jobs = len(made_jobs)
    return trial


@contextmanager
def _service(folder: Path) -> Iterator[tuple[Service, Any]]:
    """The service on a Redis that can be looked into."""
    with redis_server(folder / "redis") as server:
        environment = {"VFQ_REDIS_URL": server.url}
        with service(folder / "data", workers=[COSTLESS_WORKER], environment=environment) as running:
            yield running, connect(server.url)


def _jobs(running: Service) -> list[dict[str, Any]]:
    with running.door() as door:
        return archive_jobs(door)


def _alone(running: Service, made: Made) -> dict[str, str]:
    """Restore a recording of each kind by itself; gives the sha256 of the results."""
    with running.door() as door:
        return {kind: _restored(running, door, made.kinds[kind]) for kind in sorted(set(made.good.values()))}


def _restored(running: Service, door: Door, data: bytes) -> str:
    job = door.wait(str(door.submit(form_of(data))["id"]), every=0.05)
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
    try:
        connection.request("GET", f"/v1/jobs/{job['id']}/result")
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"there is no result of {job['id']}: {answer.read()!r}")
        return sha256(answer.read()).hexdigest()
    finally:
        connection.close()


def _checksums(folder: Path) -> dict[str, str]:
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}
