"""A job whose result goes on into another: the other is there before the first succeeds, once, whatever dies."""

import time
import uuid

import pytest

from shared.errors import QueueUnavailable
from shared.jobs import Following, JobInput, JobOptions, Manifest, OutputRequest, Status
from shared.keys import source_key
from shared.recovery import Recovery
from tests.worker.test_endings import cut_off, once, until  # noqa: F401  a fixture
from tests.worker.test_steps import decoded, noise, wav

FLOAT = JobOptions(output=OutputRequest(format="wav", bit_depth=32))


def submit(worker, *then, samples=60_000, options=FLOAT):
    """Queue a job and name those that follow; gives all their ids."""
    ids = [uuid.uuid4().hex for _ in (None, *then)]
    data = wav(noise(samples))
    worker.store.put(source_key(ids[0]), data)
    worker.send(
        worker.records.create(
            Manifest(
                id=ids[0],
                created_at=time.time(),
                owner="someone",
                input=JobInput(key=source_key(ids[0]), filename="a.wav", bytes=len(data)),
                options=options,
                then=tuple(Following(id=one, options=after) for one, after in zip(ids[1:], then, strict=True)),
            )
        )[1]
    )
    return ids


def same_as_by_hand(worker, ids):
    again = worker.submit(worker.result(ids[0]), output={"format": "wav", "bit_depth": 16})
    worker.run()
    return worker.result(ids[1]) == worker.result(again)


def test_each_takes_up_the_result_of_the_one_before(bench):
    worker = bench()
    ids = submit(worker, JobOptions(stages=("restore",)), JobOptions(stages=("vocode",)))
    worker.run()
    jobs = [worker.records.get(one) for one in ids]
    assert [job.status for job in jobs] == [Status.SUCCEEDED] * 3
    assert {job.manifest.owner for job in jobs} == {"someone"}
    assert [len(job.manifest.then or ()) for job in jobs] == [2, 1, 0]
    assert worker.store.read(source_key(ids[1])) == worker.result(ids[0])
    assert worker.store.read(source_key(ids[2])) == worker.result(ids[1])
    assert jobs[2].manifest.input.filename == "a-restored-restored.npy"
    assert len(decoded(worker.result(ids[2]))[0]) == 60_000


@pytest.mark.parametrize("samples", [1, 440, 441, 60_000])
def test_what_is_vocoded_of_a_mel_is_as_long_as_the_recording(bench, samples):
    worker = bench()
    mel = JobOptions(stages=("restore",), output=OutputRequest(format="npy"))
    ids = submit(worker, JobOptions(stages=("vocode",)), samples=samples, options=mel)
    worker.run()
    assert len(decoded(worker.result(ids[1]))[0]) == samples


@pytest.mark.parametrize("after", [False, True])
def test_it_is_made_once_though_the_end_of_the_first_was_not_recorded(bench, once, after):  # noqa: F811
    worker = bench()
    ids = submit(worker, JobOptions(output=OutputRequest(format="wav", bit_depth=16)))
    until(worker, "stitch")
    once(worker.records, "succeed", QueueUnavailable("away"), after=after)
    cut_off(worker)
    assert worker.records.state(ids[1]) is Status.QUEUED
    worker.run()
    assert [worker.records.state(one) for one in ids] == [Status.SUCCEEDED] * 2
    assert same_as_by_hand(worker, ids)


def test_a_first_that_fails_has_no_next(bench):
    worker = bench()
    ids = submit(worker, JobOptions())
    worker.store.put(source_key(ids[0]), b"no recording")
    worker.run()
    assert worker.records.state(ids[0]) is Status.FAILED
    assert worker.records.get(ids[1]) is None
    assert worker.objects(ids[1]) == []


def test_a_first_that_is_canceled_at_its_end_takes_its_next_along(bench, monkeypatch):
    worker = bench()
    ids = submit(worker, JobOptions())
    until(worker, "stitch")
    succeed = worker.records.succeed

    def canceled_just_then(*args):
        worker.records.cancel(ids[0])
        return succeed(*args)

    monkeypatch.setattr(worker.records, "succeed", canceled_just_then)
    worker.run()
    assert [worker.records.state(one) for one in ids] == [Status.CANCELED] * 2


def test_a_lost_redis_brings_it_back_too(bench):
    worker = bench()
    ids = submit(worker, JobOptions())
    manifest = worker.records.get(ids[0]).manifest
    worker.store.put(f"jobs/{ids[0]}/manifest.json", manifest.model_dump_json().encode())
    worker.client.flushdb()
    worker.waiting.clear()
    Recovery(worker.store, worker.records, worker.retention, worker).adopt(ids[0])
    worker.run()
    assert [worker.records.state(one) for one in ids] == [Status.SUCCEEDED] * 2
