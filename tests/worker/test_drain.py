import threading

from tests.worker.test_steps import noise, wav
from worker.drain import Drain


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
