import pytest
from celery import Celery
from celery.exceptions import Reject
from celery.worker import state

from shared.errors import QueueUnavailable, StorageUnavailable
from shared.jobs import Status
from shared.queues import task_name
from shared.records import Piece
from tests.worker.test_steps import noise, wav
from worker.tasks import register


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr("worker.tasks.random.uniform", lambda low, high: 0.0)


@pytest.fixture
def worker(bench):
    made = bench()
    made.app = Celery(set_as_current=False)
    register(made.app, made.ctx, ["split"])
    return made


def fail(monkeypatch, place, name, error, *, times):
    """Make a method fail so often; gives the list of its calls."""
    method, calls = getattr(place, name), []

    def broken(*args, **kwargs):
        calls.append(args)
        if len(calls) <= times:
            raise error
        return method(*args, **kwargs)

    monkeypatch.setattr(place, name, broken)
    return calls


def test_a_task_without_redis_begins_again_until_redis_is_back(worker, monkeypatch):
    """Giving the message back would need the Redis that is away."""
    job = worker.submit(wav(noise(10_000)))
    calls = fail(monkeypatch, worker.records, "claim", QueueUnavailable("away"), times=3)
    worker.app.tasks[task_name("split")](job)
    assert len(calls) == 4
    assert worker.sent[-1] == Piece("restore", 0)


def test_a_task_without_redis_ends_when_its_worker_does(worker, monkeypatch):
    job = worker.submit(wav(noise(10_000)))
    fail(monkeypatch, worker.records, "claim", QueueUnavailable("away"), times=99)
    monkeypatch.setattr(state, "should_stop", 0)
    with pytest.raises(Reject) as caught:
        worker.app.tasks[task_name("split")](job)
    assert caught.value.requeue


def test_a_task_without_storage_gives_its_message_back(worker, monkeypatch):
    job = worker.submit(wav(noise(10_000)))
    fail(monkeypatch, worker.store, "open", StorageUnavailable("away"), times=1)
    with pytest.raises(Reject) as caught:
        worker.app.tasks[task_name("split")](job)
    assert caught.value.requeue
    worker.run()
    assert worker.records.get(job).status is Status.SUCCEEDED


@pytest.fixture
def both(bench):
    """A worker that serves both model stages, by its tasks."""
    made = bench(in_flight=4)
    made.app = Celery(set_as_current=False)
    register(made.app, made.ctx, ["split", "restore", "vocode", "stitch"])

    def task():
        job_id, piece = made.waiting.popleft()
        made.app.tasks[task_name(piece.kind)](job_id, *([] if piece.index is None else [piece.index]))

    made.task = task
    return made


def finish(worker):
    while worker.waiting:
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


def test_a_vocode_without_a_message_that_meets_an_absent_storage_comes_back_by_its_restore(both, monkeypatch):
    job = both.submit(wav(noise(300_000)))
    both.task()
    both.task()
    message = both.waiting[0]
    writer = both.store.writer

    def away(key, **kwargs):
        if "/vocode/" in key:
            raise StorageUnavailable("away")
        return writer(key, **kwargs)

    monkeypatch.setattr(both.store, "writer", away)
    with pytest.raises(Reject) as caught:
        both.task()
    assert caught.value.requeue
    monkeypatch.undo()
    both.waiting.append(message)
    finish(both)
    assert both.records.get(job).status is Status.SUCCEEDED
