"""`recover` brings jobs back from storage."""

import json
import time
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from cli.main import app
from shared.jobs import Ending, JobInput, JobOptions, Manifest, Status
from shared.keys import ending_key, manifest_key, source_key
from shared.queues import queue_name
from shared.records import JobRecords, Lane, connect
from shared.storage import ObjectStore, open_storage
from shared.webhooks.deliveries import Deliveries
from shared.webhooks.endpoints import Endpoints
from shared.webhooks.shelf import Shelf


@pytest.fixture
def objects(clean_redis: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """Storage that the settings name, beside an empty Redis."""
    monkeypatch.setenv("VFQ_REDIS_URL", clean_redis)
    monkeypatch.setenv("VFQ_STORAGE_URL", f"file://{tmp_path}/objects")
    return open_storage(f"file://{tmp_path}/objects")


def put_job(objects: ObjectStore, job_id: str, status: Status | None = None) -> None:
    """Leave in storage what there is of a job that is waiting, or over."""
    source = JobInput(key=source_key(job_id), filename="a.wav", bytes=3)
    manifest = Manifest(id=job_id, created_at=time.time(), input=source, options=JobOptions())
    objects.put(source_key(job_id), b"abc")
    objects.put(manifest_key(job_id), manifest.model_dump_json().encode())
    if status:
        objects.put(ending_key(job_id), Ending(status=status, completed_at=time.time()).model_dump_json().encode())


def test_jobs_come_back_and_it_is_told_what_became_of_each(objects: ObjectStore, clean_redis: str) -> None:
    waiting, done, upload = "a" * 32, "b" * 32, "c" * 32
    put_job(objects, waiting)
    put_job(objects, done, Status.CANCELED)
    objects.put(source_key(upload), b"half a story")
    told = CliRunner().invoke(app, ["recover"])
    assert told.exit_code == 0, told.output
    assert "1 unfinished jobs begin again, 1 finished ones" in told.stdout
    assert "0 were known, 1 were removed or never accepted" in told.stdout
    assert f"{waiting}  begins again" in told.stderr
    assert f"{done}  is back" in told.stderr
    records = JobRecords(connect(clean_redis))
    assert [records.state(one) for one in (waiting, done, upload)] == [Status.QUEUED, Status.CANCELED, None]
    with redis.Redis.from_url(clean_redis) as client:
        assert client.llen("vfq:" + queue_name(Lane("split", "interactive"))) == 1


def test_scripts_are_told_in_numbers_and_a_second_time_changes_nothing(objects: ObjectStore) -> None:
    for number in range(3):
        put_job(objects, f"{number:032x}", Status.FAILED if number else None)
    counts = [json.loads(CliRunner().invoke(app, ["recover", "--json"]).stdout) for _ in range(2)]
    assert counts == [
        {"known": 0, "begun": 1, "rebuilt": 2, "no_job": 0},
        {"known": 3, "begun": 0, "rebuilt": 0, "no_job": 0},
    ]


def test_registered_endpoints_are_told_of_jobs_that_begin_again(objects: ObjectStore, clean_redis: str) -> None:
    client = connect(clean_redis)
    deliveries = Deliveries(client)
    endpoints = Endpoints(Shelf(objects), deliveries, client)
    endpoint = endpoints.create("local", url="https://example.org/", events=("job.canceled",))
    client.flushall()
    put_job(objects, "a" * 32)
    assert CliRunner().invoke(app, ["recover"]).exit_code == 0
    JobRecords(client).cancel("a" * 32)
    assert [one.target for one in deliveries.of("a" * 32)] == [endpoint.id]
