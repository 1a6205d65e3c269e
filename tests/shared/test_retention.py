"""What is to be tidied, what has outlived its time, and records made anew."""

import time

import pytest

from shared.jobs import LOCAL, Ending, Status
from shared.records import JobRecords, Retention
from tests.shared.conftest import ERROR, OUTPUT, begin, create, finish_all, lapse, manifest, taken


@pytest.fixture
def done(records):
    """A job that succeeded, at each piece of which one worker alone has been."""
    job_id, handed = begin(records, pieces=2)
    finish_all(records, job_id, handed)
    return job_id


@pytest.fixture
def later(records):
    """A moment after all that has happened."""
    return records.now() + 10


def test_a_job_is_tidied_when_it_is_over(records, retention, done, later):
    create(records)
    assert retention.untidy(now=later) == [done]
    assert retention.untidy(now=records.get(done).completed_at - 1) == []
    assert retention.tidied(done, settle=1000)
    assert retention.untidy(now=later + 2000) == []


@pytest.mark.parametrize("how", ["failed", "canceled", "lapsed", "handed back"])
def test_a_job_at_which_a_worker_may_still_write_is_tidied_twice(records, retention, client, later, how):
    job_id, handed = begin(records, pieces=2)
    if how == "failed":
        records.fail(job_id, ERROR, taken(records, job_id, handed[0]))
    elif how == "canceled":
        records.cancel(job_id)
    else:
        claim = taken(records, job_id, handed[0], owner="one")
        if how == "lapsed":
            lapse(client)
        else:
            records.hand_back(job_id, claim)
        finish_all(records, job_id, handed)
    assert not retention.tidied(job_id, settle=1000)
    assert retention.untidy(now=later) == []
    assert retention.untidy(now=later + 1000) == [job_id]


def test_the_second_tidying_is_the_last_and_not_before_its_time(records, retention, client, later):
    job_id = create(records)
    records.cancel(job_id)
    assert not retention.tidied(job_id, settle=1000)
    assert not retention.tidied(job_id, settle=1000), "another worker let go of it meanwhile"
    assert retention.untidy(now=later + 1000) == [job_id]
    client.zadd("t:tidy", {job_id: 0})
    assert retention.tidied(job_id, settle=1000)
    assert retention.untidy(now=later + 2000) == []


def test_objects_of_a_job_are_known_until_they_are_swept(records, retention, done, later):
    ended = records.get(done).completed_at
    assert retention.stored_until(ended - 1) == []
    assert retention.stored_until(later) == [done]
    retention.swept(done)
    assert retention.stored_until(later) == []
    assert retention.untidy(now=later) == []
    assert retention.ended_until(later) == [done], "its record stays"


def test_a_removed_job_is_known_until_its_objects_are_seen_to_be_gone(records, retention, done, later):
    assert not retention.is_gone(done)
    records.remove(done)
    assert retention.is_gone(done)
    assert retention.gone_until(later) == [done]
    assert retention.gone_until(records.now() - 5) == []
    retention.sunk(done)
    assert not retention.is_gone(done)
    assert retention.gone_until(later) == []


def test_a_job_that_is_created_again_is_not_gone(records, retention):
    asked = manifest()
    records.create(asked)
    records.withdraw(asked.id)
    assert retention.is_gone(asked.id)
    records.create(asked)
    assert not retention.is_gone(asked.id)


def test_it_is_one_s_turn_once_in_so_long(retention, client):
    assert retention.turn("orphans", every=1000)
    assert not retention.turn("orphans", every=1000)
    assert retention.turn("something else", every=0.01)
    while not retention.turn("something else", every=1000):
        time.sleep(0.01)
    assert client.ttl("t:turn:orphans") > 900


def test_old_events_are_forgotten(retention, client):
    for number in range(1, 401):
        client.xadd("t:events", {"id": "a"}, id=f"{number}000-1")
    retention.forget_events(before=250)
    numbers = [int(name.partition("-")[0]) // 1000 for name, _ in client.xrange("t:events")]
    assert numbers[-1] == 400
    assert 100 < numbers[0] <= 250, "Redis drops whole blocks of them"


def both(records, client):
    """Records, and another Redis's worth of them that was lost."""
    return records, JobRecords(client, prefix="new:"), Retention(client, prefix="new:")


@pytest.mark.parametrize("how", ["succeeded", "failed", "canceled", "expired"])
def test_a_record_that_is_made_anew_says_what_the_old_one_said(records, repairs, client, how):
    old, new, retention = both(records, client)
    options = {"created_at": time.time() - 100, "deadline_seconds": 50} if how == "expired" else {"mode": 1}
    job_id, handed = begin(old, pieces=2, **options)
    if how == "succeeded":
        finish_all(old, job_id, handed)
    elif how == "failed":
        old.fail(job_id, ERROR, taken(old, job_id, handed[0]))
    elif how == "canceled":
        old.cancel(job_id)
    else:
        repairs.expire()
    assert retention.rebuild(old.manifest(job_id), old.ending(job_id))
    before, after = old.get(job_id), new.get(job_id)
    assert before.status == how
    different = {"version": 1, "event": None} | ({} if how == "succeeded" else {"progress": after.progress})
    assert after == before.model_copy(update=different)
    assert not retention.rebuild(old.manifest(job_id), old.ending(job_id)), "it is there"


def test_a_record_made_anew_is_listed_kept_and_removed_as_any(records, client):
    _, new, retention = both(records, client)
    asked = manifest()
    ending = Ending(status=Status.SUCCEEDED, completed_at=asked.created_at + 5, result=3, output=OUTPUT)
    retention.rebuild(asked, ending)
    [job] = new.page(LOCAL, status=Status.SUCCEEDED, created_after=None, before=None, limit=10)
    assert (job.manifest, job.result_key) == (asked, f"jobs/{asked.id}/result.3")
    assert (job.progress.percent, job.progress.total_seconds, job.models) == (100.0, None, [])
    assert retention.stored_until(asked.created_at + 6) == [asked.id]
    assert retention.ended_until(asked.created_at + 4) == []
    assert retention.untidy(now=asked.created_at + 100) == []
    assert new.open_jobs("interactive") == 0
    assert new.remove(asked.id)
    assert new.get(asked.id) is None


def test_a_job_that_goes_on_is_not_taken_for_one_that_is_over(records, retention):
    job_id, _ = begin(records, pieces=2)
    ending = Ending(status=Status.FAILED, completed_at=1.0, error=ERROR)
    assert not retention.rebuild(records.manifest(job_id), ending)
    assert records.state(job_id) is Status.PROCESSING
