"""Many jobs, messages doubled and in any order, servers that fail at any call, before its work or after it."""

import random
from collections import deque
from contextlib import suppress

import pytest

from shared.errors import QueueUnavailable, StorageUnavailable
from shared.jobs import Status
from tests.worker.test_steps import noise, wav

RECORDS = ("claim", "begin", "complete_split", "complete", "succeed", "fail", "abandon", "winners", "lost", "put_off")
STORE = ("put", "writer", "read", "upload_file", "delete", "delete_prefix")


def make_flaky(monkeypatch, place, names, error, chance, rng):
    for name in names:
        method = getattr(place, name)

        def call(*args, method=method, **kwargs):
            fate = rng.random()
            if fate < chance / 2:
                raise error("away")
            answer = method(*args, **kwargs)
            if fate < chance:
                raise error("the answer was lost")
            return answer

        monkeypatch.setattr(place, name, call)


def shuffle(worker, rng):
    """Put the messages that wait into another order, one of them twice."""
    waiting = list(worker.waiting)
    waiting.append(rng.choice(waiting))
    rng.shuffle(waiting)
    worker.waiting = deque(waiting)


@pytest.mark.parametrize("seed", range(4))
def test_all_jobs_end_right_and_leave_nothing(bench, monkeypatch, seed):
    rng = random.Random(seed)
    worker = bench(max_attempts=1000)
    data = wav(noise(250_000, 2))
    jobs = [worker.submit(data) for _ in range(6)]
    canceled = jobs[4:]
    with monkeypatch.context() as faults:
        make_flaky(faults, worker.records, RECORDS, QueueUnavailable, 0.08, rng)
        make_flaky(faults, worker.store, STORE, StorageUnavailable, 0.05, rng)
        while worker.waiting or worker.repair():
            if rng.random() < 0.1:
                shuffle(worker, rng)
            if canceled and rng.random() < 0.03:
                worker.records.cancel(canceled.pop())
            with suppress(QueueUnavailable):  # its worker is cut off
                worker.step()
    worker.run()
    worker.sweep()
    ended = [worker.records.get(job) for job in jobs]
    assert all(job.status is Status.SUCCEEDED for job in ended[:4])
    assert all(job.status in (Status.SUCCEEDED, Status.CANCELED) for job in ended[4:])
    results = [job for job in ended if job.status is Status.SUCCEEDED]
    assert len({worker.store.read(job.result_key) for job in results}) == 1
    for job in ended:
        made = {key.rpartition("/")[2] for key in (job.result_key, job.receipt_key) if key}
        assert set(worker.objects(job.manifest.id)) == {"source", "end.json"} | made
