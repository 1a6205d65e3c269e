import threading
from contextlib import ExitStack

from shared.errors import QueueUnavailable
from tests.worker.test_steps import noise, wav
from worker.attempts.drain import Drain


def test_what_is_in_hand_when_the_limit_has_passed_is_handed_back_and_the_process_ends(bench):
    worker = bench()
    job = worker.submit(wav(noise(50_000)))
    message = worker.waiting.popleft()
    claim = worker.records.claim(job, message.piece, owner="us", message=message)
    ended, statuses = threading.Event(), []
    drain = Drain(
        worker.leases,
        worker.records,
        worker,
        seconds=0.05,
        end=lambda status: (statuses.append(status), ended.set()),
    )
    with worker.leases.hold(job, claim):
        drain.begin()
        assert ended.wait(10)
    assert statuses == [0]
    [again] = worker.waiting
    assert (again.job_id, again.piece, again.lane.again) == (job, message.piece, True)
    assert worker.records.complete_split(job, claim, pieces=1, reach=1, window=1, seconds=1.0) is not None, (
        "nobody else has claimed it yet"
    )


def test_what_cannot_be_handed_back_keeps_nothing_else_from_it(bench, monkeypatch):
    worker = bench()
    jobs = [worker.submit(wav(noise(50_000))) for _ in range(3)]
    messages = list(worker.waiting)
    worker.waiting.clear()
    claims = [worker.records.claim(one.job_id, one.piece, owner="us") for one in messages]
    send, failures = worker.send, iter([True, False, False])

    def once_away(sent):
        if next(failures):
            raise QueueUnavailable("away")
        send(sent)

    monkeypatch.setattr(worker, "send", once_away)
    drain = Drain(worker.leases, worker.records, worker, seconds=60)
    with ExitStack() as held:
        for job, claim in zip(jobs, claims, strict=True):
            held.enter_context(worker.leases.hold(job, claim))
        assert drain.hand_back() == 3
    assert len(worker.waiting) == 2
    monkeypatch.undo()
    worker.run()
    assert {str(worker.records.get(job).status) for job in jobs} == {"succeeded"}


def test_what_was_done_meanwhile_is_not_handed_back(bench):
    worker = bench()
    job = worker.submit(wav(noise(50_000)))
    claim = worker.records.claim(job, worker.waiting.popleft().piece, owner="us")
    drain = Drain(worker.leases, worker.records, worker, seconds=60)
    with worker.leases.hold(job, claim):
        worker.send(worker.records.complete_split(job, claim, pieces=1, reach=1, window=1, seconds=1.0))
        drain.hand_back()
    assert [str(message.piece) for message in worker.waiting] == ["restore:0"]


def test_who_waits_for_a_redis_that_is_away_is_told_that_the_time_is_over(bench):
    worker = bench()
    over, ended = threading.Event(), threading.Event()
    drain = Drain(
        worker.leases,
        worker.records,
        worker,
        seconds=0.01,
        over=over,
        end=lambda _: over.is_set() and ended.set(),
    )
    drain.begin()
    assert ended.wait(10)
