"""However a job ends, and whatever fails on the way, its state is right and storage keeps no more than it should."""

import numpy as np
import pytest

from shared.errors import QueueUnavailable, StorageDenied, StorageError, StorageUnavailable
from shared.jobs import Status
from shared.records import SPLIT, Piece
from tests.worker.test_steps import decoded, noise, wav


@pytest.fixture
def once(monkeypatch):
    """Make a method fail the first time; `after` lets it do its work before."""

    def break_once(place, name, error, *, after=False):
        method = getattr(place, name)

        def broken(*args, **kwargs):
            monkeypatch.setattr(place, name, method)
            if after:
                method(*args, **kwargs)
            raise error

        monkeypatch.setattr(place, name, broken)

    return break_once


def until(worker, kind):
    while worker.waiting[0][1].kind != kind:
        worker.step()


def handed_back(worker):
    """Do the next piece, which meets a server that is away, and waits again."""
    message = worker.waiting[0]
    with pytest.raises((QueueUnavailable, StorageUnavailable)):
        worker.step()
    worker.waiting.append(message)


@pytest.mark.parametrize("kind", ["split", "restore", "vocode"])
def test_what_could_not_be_sent_is_sent_when_the_piece_comes_again(bench, once, kind):
    worker = bench(in_flight=2)
    job = worker.submit(wav(noise(200_000)))
    until(worker, kind)
    once(worker, "send", QueueUnavailable("away"))
    handed_back(worker)
    worker.run()
    assert worker.records.get(job).status is Status.SUCCEEDED
    assert len(worker.sent) == len(set(map(str, worker.sent)))


@pytest.mark.parametrize(
    ("kind", "command"), [("split", "complete_split"), ("restore", "complete"), ("stitch", "succeed")]
)
def test_a_piece_whose_end_could_not_be_recorded_is_done_again(bench, once, kind, command):
    worker = bench()
    job = worker.submit(wav(noise(100_000)))
    until(worker, kind)
    once(worker.records, command, QueueUnavailable("away"))
    handed_back(worker)
    worker.run()
    assert len(decoded(worker.result(job))[0]) == 100_000
    assert len(worker.objects(job)) == 2, "one result, and the source"


def test_a_job_that_succeeded_unheard_keeps_its_result(bench, once):
    worker = bench()
    job = worker.submit(wav(noise(100_000)))
    until(worker, "stitch")
    once(worker.records, "succeed", QueueUnavailable("away"), after=True)
    handed_back(worker)
    worker.run()
    assert len(decoded(worker.result(job))[0]) == 100_000
    assert worker.objects(job) == ["result.1", "source"]


@pytest.mark.parametrize("error", [StorageError("no"), StorageDenied("no")])
def test_working_objects_that_cannot_be_deleted_do_not_cost_the_result(bench, once, error):
    worker = bench()
    job = worker.submit(wav(noise(100_000)))
    until(worker, "stitch")
    once(worker.store, "delete_prefix", error)
    worker.run()
    assert len(decoded(worker.result(job))[0]) == 100_000


@pytest.mark.parametrize("method", ["delete", "delete_prefix"])
def test_a_job_fails_also_if_its_objects_cannot_be_deleted(bench, once, method):
    worker = bench()
    damaged = noise(300_000)
    damaged[-1] = np.nan
    job = worker.submit(wav(damaged))
    once(worker.store, method, StorageDenied("no"))
    worker.run()
    assert worker.records.get(job).error.code == "audio_not_finite"


def test_a_cancelled_job_ends_also_if_its_objects_cannot_be_deleted(bench, monkeypatch):
    worker = bench()
    job = worker.submit(wav(noise(100_000)))
    complete = worker.records.complete

    def cancelled(job_id, claim, *, model):
        worker.records.cancel(job_id)
        return complete(job_id, claim, model=model)

    def denied(key):
        raise StorageDenied("no")

    monkeypatch.setattr(worker.records, "complete", cancelled)
    monkeypatch.setattr(worker.store, "delete", denied)
    worker.step()
    worker.step()
    assert worker.records.get(job).status is Status.CANCELED


def test_objects_that_could_not_be_deleted_for_a_moment_are_deleted_after_it(bench, once):
    worker = bench()
    job = worker.submit(wav(noise(100_000)))
    until(worker, "stitch")
    once(worker.store, "delete_prefix", StorageUnavailable("away"))
    handed_back(worker)
    worker.run()
    assert worker.objects(job) == ["result.1", "source"]


def test_a_job_cancelled_after_its_result_was_written_keeps_none(bench, monkeypatch):
    worker = bench()
    job = worker.submit(wav(noise(100_000)))
    until(worker, "stitch")
    upload = worker.store.upload_file

    def then_cancelled(*args, **kwargs):
        upload(*args, **kwargs)
        worker.records.cancel(job)
        raise StorageUnavailable("away")

    monkeypatch.setattr(worker.store, "upload_file", then_cancelled)
    handed_back(worker)
    worker.run()
    assert worker.records.get(job).status is Status.CANCELED
    assert worker.objects(job) == ["source"]


@pytest.mark.parametrize("kind", ["split", "restore", "vocode", "stitch"])
def test_a_job_deleted_under_a_running_piece_leaves_nothing(bench, monkeypatch, kind):
    """Another worker ends the cancelled job, and its sender deletes it, while this one is about to write."""
    worker = bench()
    job = worker.submit(wav(noise(100_000)))
    until(worker, kind)
    names = {"split": "writer", "restore": "writer", "vocode": "writer", "stitch": "upload_file"}
    write = getattr(worker.store, names[kind])

    def deleted(*args, **kwargs):
        if worker.records.cancel(job):
            worker.records.end_cancel(job)
            worker.store.delete_prefix(f"jobs/{job}")
            worker.records.remove(job)
        return write(*args, **kwargs)

    monkeypatch.setattr(worker.store, names[kind], deleted)
    worker.run()
    assert worker.records.get(job) is None
    assert worker.objects(job) == []


def test_an_attempt_that_breaks_after_another_has_done_its_piece_harms_nothing(bench, monkeypatch):
    worker = bench()
    job = worker.submit(wav(noise(100_000)))
    until(worker, "restore")

    def overtaken(key, **kwargs):
        monkeypatch.undo()
        worker.waiting.appendleft((job, Piece("restore", 0)))
        worker.step()
        raise StorageError("no")

    monkeypatch.setattr(worker.store, "writer", overtaken)
    worker.step()
    worker.run()
    assert len(decoded(worker.result(job))[0]) == 100_000


def test_a_late_message_of_a_job_that_is_over_changes_nothing(bench):
    worker = bench()
    job = worker.submit(wav(noise(100_000)))
    worker.run()
    before = worker.records.get(job)
    for piece in (SPLIT, Piece("restore", 0), Piece("vocode", 1), Piece("stitch")):
        worker.send(job, [piece], "interactive")
    worker.run()
    assert worker.records.get(job) == before
    assert worker.objects(job) == ["result.1", "source"]
