import threading
import time

import pytest

from shared.errors import QueueUnavailable
from shared.records import SPLIT
from tests.worker.test_steps import noise, wav
from worker.attempts.leases import Leases


@pytest.fixture
def held(bench):
    """A worker whose leases hold for long, and the claim of a split."""
    worker = bench(lease_seconds=1000)
    job = worker.submit(wav(noise(10_000)))
    return worker, job, worker.records.claim(job, SPLIT, owner="us")


def until(condition):
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    assert condition()


def left(worker, job):
    """Seconds for which the lease of the job's split holds."""
    return worker.client.zscore("w:leases", f"{job} split") - worker.records.now()


def shorten(worker, job):
    worker.client.zadd("w:leases", {f"{job} split": worker.records.now() + 300})


def test_what_is_held_is_renewed_until_it_is_let_go(held):
    worker, job, claim = held
    leases = Leases(worker.records, every=0.01)
    leases.start()
    with leases.hold(job, claim) as lease:
        for _ in range(2):
            shorten(worker, job)
            until(lambda: left(worker, job) > 900)
        assert lease.held
        assert leases.all() == [lease]
    assert leases.all() == []
    leases.renew()  # the thread may have been at it
    shorten(worker, job)
    time.sleep(0.1)
    leases.stop()
    assert left(worker, job) <= 300


def test_a_claim_that_counts_no_more_is_known_to_its_holder(held):
    worker, job, claim = held
    with worker.leases.hold(job, claim) as lease:
        worker.client.zadd("w:leases", {f"{job} split": 0})
        assert worker.records.claim(job, SPLIT, owner="another").attempt == 2
        worker.leases.renew()
        assert not lease.held


def test_of_a_job_that_is_to_stop_a_lease_ends(held):
    worker, job, claim = held
    with worker.leases.hold(job, claim) as lease:
        worker.records.cancel(job)
        worker.leases.renew()
        assert not lease.held


def test_renewing_goes_on_when_redis_is_back_and_meanwhile_nothing_counts_as_lost(held, monkeypatch):
    worker, job, claim = held
    renew, away, tried = worker.records.renew, threading.Event(), threading.Semaphore(0)
    away.set()

    def renewed(claims):
        if away.is_set():
            tried.release()
            raise QueueUnavailable("away")
        return renew(claims)

    monkeypatch.setattr(worker.records, "renew", renewed)
    leases = Leases(worker.records, every=0.01)
    leases.start()
    with leases.hold(job, claim) as lease:
        shorten(worker, job)
        assert all(tried.acquire(timeout=60) for _ in range(3))
        assert lease.held
        away.clear()
        until(lambda: left(worker, job) > 900)
    leases.stop()


def test_the_oldest_piece_in_hand_is_known(held, monkeypatch):
    worker, job, claim = held
    assert worker.leases.longest() == 0
    now = time.monotonic()
    with worker.leases.hold(job, claim), worker.leases.hold(job, claim):
        monkeypatch.setattr("worker.attempts.leases.time.monotonic", lambda: now + 100)
        assert worker.leases.longest() == pytest.approx(100, abs=60)
