"""What becomes of an attempt that goes wrong: by kind it is put off, fails its job, or is used up."""

import errno

import pytest

from shared.errors import (
    ObjectMissing,
    QueueUnavailable,
    StorageDenied,
    StorageError,
    StorageUnavailable,
)
from shared.jobs import Status
from tests.worker.test_steps import noise, wav
from worker.attempts.trouble import is_memory, is_passing

ROOM = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "error",
    [StorageError("cut"), StorageUnavailable("away"), StorageDenied("no"), QueueUnavailable("away"), ROOM]
    + [OSError(number, "") for number in (errno.EMFILE, errno.EIO, errno.EROFS, errno.EDQUOT)],
)
def test_what_is_absent_passes(error):
    assert is_passing(error)


@pytest.mark.parametrize(
    "error",
    [ObjectMissing("gone"), OSError(errno.ENOENT, ""), OSError("no number"), MemoryError(), ValueError("no")],
)
def test_what_would_be_the_same_again_does_not_pass(error):
    assert not is_passing(error)


def test_memory_that_runs_out_is_known_in_either_form():
    assert is_memory(MemoryError())
    assert is_memory(OSError(errno.ENOMEM, ""))
    assert not is_memory(ROOM)


def fail_at(worker, monkeypatch, name, error, *, times=10**6):
    """Make a method of storage fail so often for a job that is not over; gives the list of these calls."""
    method, calls = getattr(worker.store, name), []

    def broken(*args, **kwargs):
        if args[0].endswith("end.json"):
            return method(*args, **kwargs)
        calls.append(args)
        if len(calls) <= times:
            raise error
        return method(*args, **kwargs)

    monkeypatch.setattr(worker.store, name, broken)
    return calls


def joined(worker, monkeypatch):
    """The list of how each piece came to work: alone or not."""
    join, seen = worker.ctx.company.join, []

    def noted(*, alone):
        seen.append(alone)
        return join(alone=alone)

    monkeypatch.setattr(worker.ctx.company, "join", noted)
    return seen


@pytest.mark.parametrize("name", ["open", "writer"])
@pytest.mark.parametrize("error", [StorageUnavailable("away"), StorageError("cut"), StorageDenied("no"), ROOM])
def test_what_meets_something_absent_is_tried_for_as_long_as_it_is(bench, monkeypatch, name, error):
    worker = bench(max_attempts=2)
    job = worker.submit(wav(noise(50_000)))
    seen = joined(worker, monkeypatch)
    calls = fail_at(worker, monkeypatch, name, error, times=8)
    worker.run()
    assert len(calls) > 8
    assert not any(seen), "it is no suspect"
    assert worker.records.get(job).status is Status.SUCCEEDED
    worker.sweep()
    assert worker.objects(job) == ["end.json", "receipt.1.json", "result.1", "source"]


def test_what_is_put_off_does_not_come_at_once(bench, monkeypatch):
    worker = bench()
    worker.submit(wav(noise(50_000)))
    fail_at(worker, monkeypatch, "open", StorageUnavailable("away"))
    worker.step()
    assert not worker.waiting
    assert worker.repairs.due() == []
    assert worker.client.zcard("w:later") == 1


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (RuntimeError("secret"), "an unexpected RuntimeError"),
        (OSError(errno.ENOENT, "secret"), "an unexpected FileNotFoundError"),
        (MemoryError("secret"), "memory ran out"),
    ],
)
def test_what_nobody_foresaw_is_tried_alone_so_often_and_then_fails_its_job(bench, monkeypatch, error, cause):
    worker = bench(max_attempts=3)
    job = worker.submit(wav(noise(50_000)))
    seen = joined(worker, monkeypatch)
    calls = fail_at(worker, monkeypatch, "writer", error)
    worker.run()
    assert len(calls) == 3
    assert seen == [False, True, True]
    told = worker.records.get(job).error
    assert (told.code, told.stage, told.attempts) == ("chunk_failed", "split", 3)
    assert told.cause.startswith(cause)
    assert "secret" not in told.message
    assert worker.objects(job) == ["end.json", "source"]


def test_what_passes_at_the_next_attempt_costs_nothing(bench, monkeypatch):
    worker = bench(max_attempts=2)
    job, other = (worker.submit(wav(noise(50_000))) for _ in range(2))
    fail_at(worker, monkeypatch, "writer", RuntimeError(), times=1)
    worker.run()
    assert worker.result(job) == worker.result(other)
    assert worker.objects(job) == ["end.json", "receipt.1.json", "result.1", "source"]


def test_a_recording_that_cannot_be_read_is_not_tried_again(bench, monkeypatch):
    worker = bench()
    job = worker.submit(b"no recording at all")
    calls = fail_at(worker, monkeypatch, "open", None, times=0)
    worker.run()
    assert len(calls) == 1
    error = worker.records.get(job).error
    assert (error.code, error.stage, error.attempts) == ("audio_unreadable", "split", None)


def test_a_recording_that_is_gone_is_not_waited_for(bench):
    worker = bench()
    job = worker.submit(wav(noise(50_000)))
    worker.store.delete(f"jobs/{job}/source")
    worker.run()
    assert worker.records.get(job).error.code == "object_missing"


def test_trouble_of_an_attempt_that_was_overtaken_is_none_of_its_successor_s(bench, monkeypatch):
    worker = bench(max_attempts=2)
    job = worker.submit(wav(noise(50_000)))
    message = worker.waiting[0]

    def overtaken(*args, **kwargs):
        monkeypatch.undo()
        worker.step_elsewhere(message)
        raise RuntimeError

    monkeypatch.setattr(worker.store, "open", overtaken)
    worker.step()
    worker.run()
    assert worker.records.get(job).status is Status.SUCCEEDED
