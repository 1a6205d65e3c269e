"""What jobs cost at rest: Redis memory per job that is over, and how soon a page of a long list, and a scrape, is
answered.

``python -m bench.rest`` passes jobs through all their states by the commands that API and workers give, with only the
work between left out. It prints bytes per job, milliseconds per page of a hundred, each the middle of three askings,
and milliseconds per answer of `/metrics`, and exits 1 above 1,200 bytes, 50 ms or 20 ms.
"""

import argparse
import json
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import redis

from api.app import create_app
from shared import log
from shared.jobs import LOCAL, JobInput, JobOptions, JobOutput, Manifest, Priority, Status
from shared.keys import source_key
from shared.records import SPLIT, STITCH, Claim, JobRecords, Piece, Retention, connect
from shared.settings import Settings
from tests.support.redis import redis_server

MOST_BYTES = 1200.0
MOST_PAGE_MS = 50.0
MOST_SCRAPE_MS = 20.0
_SCRAPES = 100
_LABELS = {
    stage: f"{name} sha256:0123456789ab numba fp32 cpu"
    for stage, name in (("restore", "VoiceFixerRestorer"), ("vocode", "VoiceFixerVocoder"))
}
_PAGE = 100


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.rest", description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000, help="finished jobs")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="vfq-rest-") as folder, redis_server(Path(folder)) as server:
        client = connect(server.url)
        records = JobRecords(client)
        before = _used(client)
        _fill(records, Retention(client), asked.jobs)
        per_job = (_used(client) - before) / asked.jobs
        pages = sorted(_pages(records))
        by_state = sorted(_pages(records, Status.SUCCEEDED))
        scrapes = sorted(_scrapes(server.url))
    figures = {
        "jobs": asked.jobs,
        "bytes_per_job": round(per_job, 1),
        "pages": len(pages),
        "page_ms_median": round(pages[len(pages) // 2], 2),
        "page_ms_worst": round(pages[-1], 2),
        "page_of_a_state_ms_worst": round(by_state[-1], 2),
        "scrape_ms_median": round(scrapes[len(scrapes) // 2], 2),
        "scrape_ms_worst": round(scrapes[-1], 2),
        "passed": per_job <= MOST_BYTES
        and max(pages[-1], by_state[-1]) <= MOST_PAGE_MS
        and scrapes[len(scrapes) // 2] <= MOST_SCRAPE_MS,
    }
    print(json.dumps(figures))
    return 0 if figures["passed"] else 1


def _fill(records: JobRecords, retention: Retention, jobs: int) -> None:
    chance = random.Random(0)
    for number in range(jobs):
        job_id = uuid.UUID(int=chance.getrandbits(128)).hex
        _pass_through(records, _manifest(job_id, number, chance), chance)
        retention.tidied(job_id, settle=0.0)
        if number % 1000 == 0:
            print(f"\r{number} of {jobs} jobs", end="", file=sys.stderr)
    print(file=sys.stderr)


def _manifest(job_id: str, number: int, chance: random.Random) -> Manifest:
    priority: Priority = "bulk" if number % 2 else "interactive"
    options = JobOptions(priority=priority, deadline_seconds=604_800.0)
    name = f"reel-{number // 20:04d}-take-{number % 20:02d}.wav"
    source = JobInput(key=source_key(job_id), filename=name, bytes=chance.randrange(10**5, 10**8))
    return Manifest(id=job_id, created_at=round(time.time(), 6), input=source, options=options)


def _pass_through(records: JobRecords, manifest: Manifest, chance: random.Random) -> None:
    """Let a job of two windows go all its way."""
    job_id = manifest.id
    records.create(manifest)
    seconds = chance.uniform(31, 60)
    records.complete_split(job_id, _take(records, job_id, SPLIT), pieces=2, reach=1, window=4, seconds=seconds)
    for stage in ("restore", "vocode"):
        for index in range(2):
            claim = _take(records, job_id, Piece(stage, index))
            records.complete(job_id, claim, model=_LABELS[stage])
    samples = int(seconds * 44_100)
    output = JobOutput(
        format="wav",
        media_type="audio/wav",
        filename=f"{Path(manifest.input.filename or '').stem}-restored.wav",
        bytes=44 + 2 * samples,
        samples=samples,
        sample_rate=44_100,
        bit_depth=16,
        sha256=chance.randbytes(32).hex(),
    )
    assert records.succeed(job_id, _take(records, job_id, STITCH), output)


def _take(records: JobRecords, job_id: str, piece: Piece) -> Claim:
    claim = records.claim(job_id, piece, owner="12345@worker/0a1b2c3d")
    assert isinstance(claim, Claim), claim
    return claim


def _pages(records: JobRecords, status: Status | None = None) -> Iterator[float]:
    """Go through the whole list; gives the milliseconds of each page, the middle of three askings."""
    before: tuple[float, str] | None = None
    while True:
        took = []
        for _ in range(3):
            began = time.perf_counter()
            jobs = records.page(LOCAL, status=status, created_after=None, before=before, limit=_PAGE)
            took.append((time.perf_counter() - began) * 1000)
        yield sorted(took)[1]
        if len(jobs) < _PAGE:
            return
        before = (jobs[-1].manifest.created_at, jobs[-1].manifest.id)


def _scrapes(url: str) -> Iterator[float]:
    """Ask `/metrics` again and again; gives the milliseconds of each answer."""
    settings = Settings(redis_url=url, storage_url="file:///nowhere")
    log.configure(settings)
    client = create_app(settings).test_client()
    for _ in range(_SCRAPES):
        began = time.perf_counter()
        answer = client.get("/metrics")
        yield (time.perf_counter() - began) * 1000
        assert answer.status_code == 200
        answer.close()


def _used(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])


if __name__ == "__main__":
    sys.exit(main())
