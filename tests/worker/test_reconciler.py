"""Messages that are lost are told from those that wait."""

import threading
import time

import pytest
import redis

from shared.errors import QueueUnavailable
from shared.queues import Dispatcher, celery_app
from shared.records import Lane, Message, Piece, connect
from shared.settings import Settings
from tests.worker.test_steps import noise, wav
from worker.upkeep.reconciler import Broker, Reconciler


class Queues:
    """A broker whose queues are the messages that wait in the bench."""

    def __init__(self, worker):
        self.worker = worker

    def empty(self, lanes):
        waiting = {message.lane for message in self.worker.waiting}
        return {lane: lane not in waiting for lane in lanes}


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("worker.upkeep.reconciler.time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def worker(bench):
    return bench(in_flight=2)


@pytest.fixture
def reconciler(worker):
    return Reconciler(worker.repairs, worker, Queues(worker))


def looks(reconciler, clock, *, seconds=4):
    """Look once a second for so long; gives what was sent."""
    sent = []
    for _ in range(seconds):
        sent += reconciler.look()
        clock[0] += 1
    return sent


def test_what_waits_is_left_alone_however_long(worker, reconciler, clock):
    for _ in range(20):
        worker.submit(wav(noise(10_000)))
    assert looks(reconciler, clock, seconds=60) == []


def test_a_message_whose_queue_is_empty_is_sent_again_once(worker, reconciler, clock):
    worker.submit(wav(noise(10_000)))
    lost = worker.waiting.popleft()
    [again] = looks(reconciler, clock, seconds=30)
    assert (again.job_id, again.piece, again.lane.again) == (lost.job_id, lost.piece, True)


def test_a_message_that_younger_ones_overtook_is_sent_again(worker, reconciler, clock):
    jobs = [worker.submit(wav(noise(10_000))) for _ in range(3)]
    del worker.waiting[0]
    assert looks(reconciler, clock) == [], "it may be on its way"
    worker.step()
    sent = [message for message in looks(reconciler, clock) if str(message.piece) == "split"]
    assert [message.job_id for message in sent] == jobs[:1]
    worker.run()
    assert {str(worker.records.get(job).status) for job in jobs} == {"succeeded"}


def test_what_was_on_its_way_is_not_sent_again(worker, reconciler, clock):
    worker.submit(wav(noise(10_000)))
    late = worker.waiting.popleft()
    assert looks(reconciler, clock, seconds=2) == []
    worker.waiting.append(late)
    assert looks(reconciler, clock, seconds=30) == []


def test_a_lease_that_ran_out_is_taken_back(worker, reconciler, clock):
    job = worker.submit(wav(noise(10_000)))
    message = worker.waiting.popleft()
    worker.records.claim(job, message.piece, owner="dead", message=message)
    assert looks(reconciler, clock, seconds=10) == []
    worker.client.zadd("w:leases", {f"{job} split": 0})
    assert [str(one.piece) for one in looks(reconciler, clock, seconds=10)] == ["split"]


def test_what_was_put_off_is_sent_when_it_is_due(worker, reconciler, clock):
    job = worker.submit(wav(noise(10_000)))
    message = worker.waiting.popleft()
    worker.records.put_off(job, worker.records.claim(job, message.piece, message=message))
    worker.client.zadd("w:later", {f"{job} split": worker.records.now() + 1000})
    assert looks(reconciler, clock, seconds=10) == []
    worker.client.zadd("w:later", {f"{job} split": 0})
    assert [(one.job_id, str(one.lane)) for one in looks(reconciler, clock)] == [(job, "interactive:split:again")]
    worker.run()
    assert str(worker.records.get(job).status) == "succeeded"


def test_jobs_whose_deadline_has_passed_end(worker, reconciler, clock):
    job = worker.submit(wav(noise(10_000)))
    worker.client.zadd("w:deadlines", {job: 1})
    assert looks(reconciler, clock) == []
    assert str(worker.records.get(job).status) == "expired"


def test_what_could_not_be_sent_again_is_sent_by_a_later_look(worker, reconciler, clock, monkeypatch):
    job = worker.submit(wav(noise(10_000)))
    message = worker.waiting.popleft()
    worker.records.claim(job, message.piece, owner="dead", message=message)
    worker.client.zadd("w:leases", {f"{job} split": 0})

    def away(messages):
        if messages:
            raise QueueUnavailable("away")

    with monkeypatch.context() as broken:
        broken.setattr(worker, "send", away)
        with pytest.raises(QueueUnavailable):
            reconciler.look()
    assert not worker.waiting
    looks(reconciler, clock)
    assert [one.job_id for one in worker.waiting] == [job]


def test_a_broker_tells_which_queues_are_empty(clean_redis):
    app = celery_app(Settings(redis_url=clean_redis, key_prefix="w:"))
    full, empty = Lane("vocode", "bulk", again=True), Lane("vocode", "bulk")
    Dispatcher(app).send([Message("a" * 32, Piece("vocode", 1), full, 1)])
    broker = Broker(connect(clean_redis), prefix="w:")
    assert broker.empty([full, empty]) == {full: False, empty: True}


def test_reconcilers_of_two_processes_take_turns_when_one_ends(worker):
    leading, waiting = (Reconciler(worker.repairs, worker, Queues(worker)) for _ in range(2))
    leading.start()
    while worker.client.get("w:lead:reconciler") is None:
        time.sleep(0.01)
    token = worker.client.get("w:lead:reconciler")
    waiting.start()
    time.sleep(0.1)
    assert worker.client.get("w:lead:reconciler") == token
    leading.stop()
    while worker.client.get("w:lead:reconciler") in (token, None):
        time.sleep(0.01)
    waiting.stop()
    assert worker.client.get("w:lead:reconciler") is None


def test_a_reconciler_lives_through_what_it_meets(worker, monkeypatch):
    """Nothing else in the process would notice its end."""
    monkeypatch.setattr("worker.upkeep.reconciler._LOOK_SECONDS", 0.001)
    errors = iter([QueueUnavailable("away"), redis.ConnectionError("away"), ValueError("a bug")])
    went_on = threading.Event()

    def expired():
        for error in errors:
            raise error
        went_on.set()
        return []

    monkeypatch.setattr(worker.repairs, "expired", expired)
    reconciler = Reconciler(worker.repairs, worker, Queues(worker))
    reconciler.start()
    assert went_on.wait(30)
    reconciler.stop()
