"""However a job ends, and whatever fails on the way, its state is right and storage keeps no more than it should."""

import numpy as np
import pytest

from shared.errors import QueueUnavailable, StorageDenied, StorageError, StorageUnavailable
from shared.jobs import Status
from shared.records import SPLIT, Lane, Message, Piece
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
    while worker.next().kind != kind:
        worker.step()


def cut_off(worker):
    """Do the next piece, whose worker loses Redis for good; its lease will lapse."""
    with pytest.raises(QueueUnavailable):
        worker.step()


@pytest.mark.parametrize("kind", ["split", "restore", "vocode"])
def test_what_could_not_be_sent_is_sent_by_the_reconciler(bench, once, kind):
    worker = bench(in_flight=2)
    job = worker.submit(wav(noise(200_000)))
    until(worker, kind)
    once(worker, "send", QueueUnavailable("away"))
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
    cut_off(worker)
    worker.run()
    assert len(decoded(worker.result(job))[0]) == 100_000
    worker.sweep()
    assert len(worker.objects(job)) == 4, "one result, its receipt, the source, and how it ended"


def test_a_job_that_succeeded_unheard_keeps_its_result(bench, once):
    worker = bench()
    job = worker.submit(wav(noise(100_000)))
    until(worker, "stitch")
    once(worker.records, "succeed", QueueUnavailable("away"), after=True)
    cut_off(worker)
    worker.run()
    worker.sweep()
    assert len(decoded(worker.result(job))[0]) == 100_000
    assert worker.objects(job) == ["end.json", "receipt.1.json", "result.1", "source"]


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

    def cancelled(job_id, claim, *, model, spent):
        worker.records.cancel(job_id)
        return complete(job_id, claim, model=model, spent=spent)

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
    worker.run()
    worker.sweep()
    assert worker.objects(job) == ["end.json", "receipt.1.json", "result.1", "source"]


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
    worker.run()
    worker.sweep()
    assert worker.records.get(job).status is Status.CANCELED
    assert worker.objects(job) == ["end.json", "source"]


def test_a_suspect_whose_job_was_cancelled_while_it_waited_to_be_alone_holds_it_up_no_longer(bench, monkeypatch):
    worker = bench()
    job = worker.submit(wav(noise(100_000)))
    message = worker.waiting.popleft()
    worker.send(worker.records.use_up(job, worker.records.claim(job, message.piece), "it broke"))
    begin = worker.records.begin

    def cancelled(*args):
        worker.records.cancel(job)
        return begin(*args)

    monkeypatch.setattr(worker.records, "begin", cancelled)
    worker.step()
    assert worker.records.get(job).status is Status.CANCELED
    assert worker.objects(job) == ["end.json", "source"]


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
            worker.client.zadd("w:leases", dict.fromkeys(worker.client.zrange("w:leases", 0, -1), 0) or {"-": 0})
            worker.repairs.expired()
            worker.store.delete_prefix(f"jobs/{job}")
            worker.records.remove(job)
        return write(*args, **kwargs)

    monkeypatch.setattr(worker.store, names[kind], deleted)
    worker.run()
    worker.sweep()
    assert worker.records.get(job) is None
    assert worker.objects(job) == []


def test_an_attempt_that_breaks_after_another_has_done_its_piece_harms_nothing(bench, monkeypatch):
    worker = bench()
    job = worker.submit(wav(noise(100_000)))
    until(worker, "restore")
    message = worker.waiting[0]

    def overtaken(key, **kwargs):
        monkeypatch.undo()
        worker.step_elsewhere(message)
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
        worker.send([Message(job, piece, Lane(piece.kind, "interactive"), 1)])
    worker.run()
    assert worker.records.get(job) == before
    assert worker.objects(job) == ["end.json", "receipt.1.json", "result.1", "source"]
