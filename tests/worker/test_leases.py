import time

from shared.records import SPLIT
from tests.worker.test_steps import noise, wav
from worker.leases import Leases


def test_what_is_held_is_renewed_until_it_is_let_go(bench):
    worker = bench(lease_seconds=1)
    job = worker.submit(wav(noise(10_000)))
    claim = worker.records.claim(job, SPLIT, owner="us")
    leases = Leases(worker.records, every=0.1)
    leases.start()
    with leases.hold(job, claim) as lease:
        time.sleep(1.5)
        assert worker.repairs.expired() == []
        assert lease.held
        assert leases.longest() > 1
    leases.stop()
    time.sleep(1.1)
    assert [str(message.piece) for message in worker.repairs.expired()] == ["split"]


def test_a_claim_that_counts_no_more_is_known_to_its_holder(bench):
    worker = bench()
    job = worker.submit(wav(noise(10_000)))
    claim = worker.records.claim(job, SPLIT, owner="us")
    with worker.leases.hold(job, claim) as lease:
        worker.client.zadd("w:leases", {f"{job} split": 0})
        assert worker.records.claim(job, SPLIT, owner="another").attempt == 2
        worker.leases.renew()
        assert not lease.held
