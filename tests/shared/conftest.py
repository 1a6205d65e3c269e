"""Records on a real Redis, and jobs at any point of their life."""

import time
import uuid
from collections.abc import Iterator

import pytest
import redis

from shared.figures import read_figures
from shared.jobs import JobError, JobInput, JobOptions, JobOutput, Manifest
from shared.records import SPLIT, STITCH, Claim, JobRecords, Piece, Repairs, Retention, connect

PREFIX = "t:"
OUTPUT = JobOutput(format="wav", media_type="audio/wav", filename="a-restored.wav", bytes=10, samples=3)
ERROR = JobError(code="audio_unreadable", message="no", stage="restore")


@pytest.fixture
def client(clean_redis) -> Iterator[redis.Redis]:
    """Whatever a test did, what is counted in the script's steps is what there is."""
    client = connect(clean_redis)
    yield client
    if client.type(f"{PREFIX}stats") == "hash":
        check_figures(client)


@pytest.fixture
def records(client) -> JobRecords:
    return JobRecords(client, prefix=PREFIX)


@pytest.fixture
def repairs(client) -> Repairs:
    return Repairs(client, prefix=PREFIX)


@pytest.fixture
def retention(client) -> Retention:
    return Retention(client, prefix=PREFIX)


def check_figures(client) -> None:
    """Hold the figures against all jobs and deliveries, looked through one by one."""
    found: dict[tuple[str, str], int] = {}
    for key in client.scan_iter(f"{PREFIX}job:{{*}}", _type="hash"):
        if key.endswith("}"):
            state, priority = client.hmget(key, "state", "priority")
            found[priority, state] = found.get((priority, state), 0) + 1
    calls = sum(client.zcard(key) for key in client.scan_iter(f"{PREFIX}calls:*"))
    figures = read_figures(client, prefix=PREFIX)
    assert figures.open == {place: found.get(place, 0) for place in figures.open}
    assert figures.owed == calls


def manifest(*, created_at=None, **options) -> Manifest:
    job_id = uuid.uuid4().hex
    return Manifest(
        id=job_id,
        created_at=time.time() if created_at is None else created_at,
        input=JobInput(key=f"jobs/{job_id}/source", filename="a.wav", bytes=5),
        options=JobOptions(**options),
    )


def create(records, **options) -> str:
    """Create a job; gives its id."""
    asked = manifest(**options)
    assert records.create(asked)[0] == "created"
    return asked.id


def begin(records, *, pieces, window=4, reach=1, plan="", **options):
    """Create and split a job; gives its id and the pieces that were handed out."""
    job_id = create(records, **options)
    claim = taken(records, job_id, SPLIT)
    sizes = {"pieces": pieces, "reach": reach, "window": window}
    return job_id, only_pieces(records.complete_split(job_id, claim, **sizes, seconds=90.0, plan=plan))


def taken(records, job_id, piece, owner="") -> Claim:
    """Claim a piece that can be had."""
    claim = records.claim(job_id, piece, owner=owner)
    assert isinstance(claim, Claim), claim
    return claim


def finish(records, job_id, piece) -> list[Piece]:
    """Do a window; gives the pieces that were handed out."""
    return only_pieces(records.complete(job_id, taken(records, job_id, piece), model="Model sha256:ab"))


def finish_all(records, job_id, waiting) -> None:
    """Do all windows and the stitch."""
    waiting = list(waiting)
    while waiting != [STITCH]:
        waiting += finish(records, job_id, waiting.pop(0))
    assert records.succeed(job_id, taken(records, job_id, STITCH), OUTPUT)


def only_pieces(messages) -> list[Piece]:
    return [message.piece for message in messages]


def lapse(client) -> None:
    """Let all leases run out."""
    make_due(client, "leases")


def make_due(client, index) -> None:
    """Let the time come for all that stands in an index of times."""
    for name in client.zrange(f"{PREFIX}{index}", 0, -1):
        client.zadd(f"{PREFIX}{index}", {name: 0})
