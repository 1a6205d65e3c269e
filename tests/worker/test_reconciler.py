"""Messages that are lost are told from those that wait."""

import pytest

from tests.worker.test_steps import noise, wav
from worker.reconciler import Reconciler


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
    monkeypatch.setattr("worker.reconciler.time.monotonic", lambda: now[0])
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
