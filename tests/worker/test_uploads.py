"""Uploads that have outlived their time go, with their parts; those that are in time stay."""

import time
import uuid

import pytest

from shared.jobs import JobOptions, Manifest
from shared.keys import upload_key, upload_part_key
from shared.records import Upload
from shared.storage.s3 import S3Store
from shared.uploaded import UploadRefused, copy_upload, find_upload
from tests.worker.test_steps import noise, wav
from tests.worker.test_sweeper import look
from worker.upkeep.sweeper import Sweeper
from worker.upkeep.uploads import sweep_unknown, unfinished_age


@pytest.fixture
def worker(bench):
    return bench()


def begin(worker, *, hours=24.0, session=None, upload_id="") -> Upload:
    now = time.time()
    upload = Upload(
        id=upload_id or uuid.uuid4().hex,
        owner="local",
        filename="a.wav",
        size=4,
        created=now,
        expires=now + hours * 3600,
        session=session,
        direct=session is not None,
    )
    assert worker.retention.uploads.create(upload, most=10)
    return upload


def test_an_upload_goes_with_all_its_objects_when_its_time_is_over(worker):
    late, fresh = begin(worker, hours=-0.1), begin(worker)
    for upload in (late, fresh):
        worker.store.put(upload_key(upload.id), b"data")
        worker.store.put(upload_part_key(upload.id, 1, "a"), b"part")
    look(worker)
    assert {info.key.split("/")[1] for info in worker.store.list("uploads/")} == {fresh.id}
    assert worker.retention.uploads.get(fresh.id).filename == "a.wav"
    assert worker.client.keys(f"*{late.id}*") == []
    assert [found for found, _ in worker.retention.uploads.expired(time.time() + 1e9)] == [fresh.id]


def test_a_job_has_some_minutes_to_copy_an_upload_that_expires(worker):
    upload = begin(worker, hours=-0.05)
    worker.store.put(upload_key(upload.id), b"data")
    assert worker.retention.uploads.get(upload.id) is None
    look(worker)
    assert worker.store.read(upload_key(upload.id)) == b"data"


def test_a_job_is_done_although_its_upload_is_swept_meanwhile(worker):
    upload, job_id, data = begin(worker), uuid.uuid4().hex, wav(noise(50_000))
    seal = worker.store.put(upload_key(upload.id), data).etag
    uploads = worker.retention.uploads
    assert uploads.complete(upload, key=upload_key(upload.id), etag="x", seal=seal)
    found = find_upload(uploads, upload.id, sees=lambda owner: owner == "local", max_bytes=10**6)
    source = copy_upload(worker.store, found, job_id)
    asked = Manifest(id=job_id, created_at=time.time(), input=source, options=JobOptions())
    worker.send(worker.records.create(asked)[1])
    worker.client.zadd("w:uploads", {upload.id: 0})
    look(worker)
    assert list(worker.store.list("uploads/")) == []
    worker.run()
    assert worker.result(job_id)
    with pytest.raises(UploadRefused, match="no such upload"):
        copy_upload(worker.store, found, uuid.uuid4().hex)
    with pytest.raises(UploadRefused, match="no such upload"):
        find_upload(uploads, upload.id, sees=lambda owner: True, max_bytes=10**6)


def test_parts_that_wait_in_s3_are_dropped(worker, s3_bucket):
    worker.ctx.store = store = S3Store(s3_bucket.server.connection, bucket=s3_bucket.name, prefix="p/")
    parts = store.part_uploads()
    upload_id = uuid.uuid4().hex
    session = parts.begin(upload_key(upload_id))
    upload = begin(worker, hours=-1, session=session, upload_id=upload_id)
    assert parts.arrived(upload_key(upload.id), session) == {}
    look(worker)
    assert parts.arrived(upload_key(upload.id), session) is None
    assert worker.retention.uploads.expired(time.time()) == []


def test_objects_without_an_upload_go_when_they_are_old(worker):
    upload = begin(worker)
    for name in (upload.id, uuid.uuid4().hex):
        worker.store.put(upload_key(name), b"data")
    sweep_unknown(worker.ctx, time.time() + 3000)
    assert len(list(worker.store.list("uploads/"))) == 2
    sweep_unknown(worker.ctx, time.time() + 4000)
    assert [info.key for info in worker.store.list("uploads/")] == [upload_key(upload.id)]


def test_a_redis_that_was_lost_leaves_uploads_to_the_sweep(worker):
    upload = begin(worker)
    worker.store.put(upload_key(upload.id), b"data")
    worker.client.flushall()
    Sweeper(worker.ctx, worker.repairs).look()
    assert list(worker.store.list("uploads/")), "not at once"
    sweep_unknown(worker.ctx, time.time() + 4000)
    assert list(worker.store.list("uploads/")) == []


def test_what_is_unfinished_in_storage_outlives_every_upload(bench):
    assert unfinished_age(bench(upload_hours=168).ctx, 86_400).total_seconds() > 168 * 3600
    assert unfinished_age(bench(upload_hours=1).ctx, 86_400).total_seconds() == 86_400
