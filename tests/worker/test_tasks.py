import pytest
from celery import Celery
from celery.worker import state

from shared.errors import QueueUnavailable, StorageUnavailable
from shared.jobs import Status
from shared.queues import task_name
from tests.worker.test_steps import noise, wav
from worker.tasks import register


@pytest.fixture
def both(bench):
    """A worker that serves both model stages, by its tasks."""
    made = bench(in_flight=4)
    made.app = Celery(set_as_current=False)
    register(made.app, made.ctx, ["split", "restore", "vocode", "stitch"])

    def task():
        message = made.waiting.popleft()
        made.app.tasks[task_name(message.piece.kind)](
            message.job_id, message.piece.index, str(message.lane), message.number
        )

    made.task = task
    return made


def finish(worker):
    while worker.waiting or worker.repair():
        worker.task()


def test_a_worker_of_both_stages_vocodes_what_it_restored_without_a_message(both):
    job = both.submit(wav(noise(300_000)))
    finish(both)
    assert both.records.get(job).status is Status.SUCCEEDED
    sent = [piece.kind for piece in both.sent]
    # What the last restore makes ready is more than one.
    assert sent.count("vocode") == 1 < sent.count("restore")


def test_a_worker_that_is_to_end_sends_what_it_could_have_gone_on_with(both, monkeypatch):
    job = both.submit(wav(noise(300_000)))
    monkeypatch.setattr(state, "should_stop", 0)
    finish(both)
    assert both.records.get(job).status is Status.SUCCEEDED
    sent = [piece.kind for piece in both.sent]
    assert sent.count("vocode") == sent.count("restore")


def test_a_vocode_without_a_message_that_meets_an_absent_storage_is_put_off(both, monkeypatch):
    job = both.submit(wav(noise(300_000)))
    both.task()
    writer = both.store.writer

    def away(key, **kwargs):
        if "/vocode/" in key:
            raise StorageUnavailable("away")
        return writer(key, **kwargs)

    monkeypatch.setattr(both.store, "writer", away)
    while not both.client.zcard("w:later"):
        both.task()
    monkeypatch.undo()
    finish(both)
    assert both.records.get(job).status is Status.SUCCEEDED


def test_a_task_whose_worker_is_cut_off_ends_without_a_word_and_its_piece_comes_again(both, monkeypatch):
    """The message is not given back: that would need the Redis that is away."""
    job = both.submit(wav(noise(300_000)))

    def away(*args, **kwargs):
        raise QueueUnavailable("away")

    with monkeypatch.context() as cut:
        cut.setattr(both.records, "complete_split", away)
        both.task()
    assert not both.waiting
    finish(both)
    assert both.records.get(job).status is Status.SUCCEEDED


def test_a_message_of_a_piece_that_another_works_at_is_dropped(both):
    job = both.submit(wav(noise(300_000)))
    message = both.waiting[0]
    claim = both.records.claim(job, message.piece, owner="another")
    both.task()
    assert both.records.complete_split(job, claim, pieces=1, reach=1, window=4, seconds=1.0) is not None
