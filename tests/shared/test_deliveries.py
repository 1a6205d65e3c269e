"""What a job's end owes to whom: written in the same step, once, claimed with a lease, tried again, forgotten."""

import time

import pytest

from shared.jobs import Status
from shared.records import SPLIT, Piece
from shared.webhooks.deliveries import Attempt, Deliveries
from tests.shared.conftest import ERROR, PREFIX, begin, create, finish, finish_all, make_due, manifest, taken

URL = "https://example.org/hook?token=sesame"
OWNER = "local"


@pytest.fixture
def deliveries(client) -> Deliveries:
    return Deliveries(client, prefix=PREFIX, keep=100.0)


def claim(deliveries, *, most=10, room=10, lease=20.0, rooms=None):
    return deliveries.claim(most=most, room=room, lease=lease, rooms=rooms or {})


def told(deliveries, job_id) -> list[str]:
    return [one.type for one in deliveries.of(job_id)]


def succeed(records, **options) -> str:
    job_id, waiting = begin(records, pieces=2, **options)
    finish_all(records, job_id, waiting)
    return job_id


def fail(records, job_id) -> None:
    assert records.fail(job_id, ERROR, taken(records, job_id, SPLIT))


def test_a_job_owes_its_end_to_its_own_webhook(records, deliveries):
    job_id = succeed(records, webhook=URL)
    [one] = deliveries.of(job_id)
    job = records.get(job_id)
    assert (one.type, one.status, one.subject, one.owner) == ("job.succeeded", "succeeded", job_id, OWNER)
    assert (one.sequence, one.target, one.url, one.state) == (job.version, "hook", URL, "pending")
    assert one.receiver == "example.org:443"
    assert abs(one.at - job.completed_at) < 0.5


def test_every_ending_is_told(records, repairs, deliveries):
    failed, queued, processing, expired = (create(records, webhook=URL) for _ in range(4))
    fail(records, failed)
    records.cancel(queued)
    split = taken(records, processing, SPLIT)
    assert records.cancel(processing) is Status.CANCELING
    assert told(deliveries, processing) == []
    records.abandon(processing, split)
    records._redis.zadd(f"{PREFIX}deadlines", {expired: 0})
    repairs.expire()
    kinds = {failed: "job.failed", queued: "job.canceled", processing: "job.canceled", expired: "job.expired"}
    assert {job_id: told(deliveries, job_id) for job_id in kinds} == {one: [kind] for one, kind in kinds.items()}


def test_a_filter_chooses(records, deliveries):
    both = create(records, webhook=URL, webhook_events_filter=["job.started", "job.failed"])
    fail(records, both)
    assert told(deliveries, both) == ["job.started", "job.failed"]
    other = create(records, webhook=URL, webhook_events_filter=["job.succeeded"])
    fail(records, other)
    assert told(deliveries, other) == []


def test_endpoints_of_the_owner_are_told_and_of_nobody_else(records, deliveries):
    deliveries.enlist(OWNER, "we1", revision=1, url="http://a.example:81/x", events=("job.failed",))
    deliveries.enlist(OWNER, "we2", revision=1, url="http://b.example/x", events=("job.succeeded",))
    deliveries.enlist("k1", "we3", revision=1, url="http://c.example/x", events=("job.failed",))
    job_id = create(records, webhook=URL)
    fail(records, job_id)
    assert {(one.target, one.receiver) for one in deliveries.of(job_id)} == {
        ("hook", "example.org:443"),
        ("we1", "a.example:81"),
    }
    deliveries.delist(OWNER, "we1")
    second = create(records)
    fail(records, second)
    assert deliveries.of(second) == []


def test_an_older_revision_of_an_endpoint_does_not_count(records, deliveries):
    deliveries.enlist(OWNER, "we1", revision=2, url=URL, events=("job.succeeded",))
    deliveries.enlist(OWNER, "we1", revision=1, url=URL, events=("job.failed",))
    job_id = create(records)
    fail(records, job_id)
    assert deliveries.of(job_id) == []


def test_a_job_that_was_not_accepted_is_not_told_of(records, deliveries, client):
    job_id = create(records, webhook=URL)
    assert records.withdraw(job_id)
    assert claim(deliveries) == []
    assert client.keys(f"{PREFIX}deliver*") == []


def test_ids_are_those_of_job_event_and_receiver(records, deliveries):
    job_id = create(records, webhook=URL, webhook_events_filter=["job.started", "job.failed"])
    fail(records, job_id)
    started, failed = deliveries.of(job_id)
    assert started.id == f"msg_{job_id}_{started.sequence}_hook"
    assert failed.id == f"msg_{job_id}_{failed.sequence}_hook"
    assert started.sequence < failed.sequence


def test_jobs_without_hooks_leave_nothing(records, client, deliveries):
    succeed(records)
    plain = {key for key in client.keys("*") if "hook" in key or "deliver" in key or "calls" in key or "told" in key}
    assert plain == set()
    job_id = succeed(records, webhook=URL)
    assert not {"hook", "told"} & client.hgetall(f"{PREFIX}job:{{{job_id}}}").keys()


def test_progress_is_told_when_asked_for_and_only_the_last(records, client, deliveries):
    job_id, waiting = begin(records, pieces=6, webhook=URL, webhook_events_filter=["job.progress", "job.succeeded"])
    [first] = deliveries.of(job_id)
    assert first.type == "job.progress"
    assert first.extra == {"progress": {"done_steps": 0, "total_steps": 12}}
    waiting += finish(records, job_id, waiting.pop(0))
    assert [one.id for one in deliveries.of(job_id)] == [first.id], "less than 500 ms later"
    client.hset(f"{PREFIX}job:{{{job_id}}}", "told", time.time() - 0.6)
    waiting += finish(records, job_id, waiting.pop(0))
    [second] = deliveries.of(job_id)
    assert second.sequence > first.sequence
    assert second.extra["progress"]["done_steps"] == 2
    [call] = claim(deliveries)
    assert call.delivery.id == second.id
    client.hset(f"{PREFIX}job:{{{job_id}}}", "told", time.time() - 0.6)
    waiting += finish(records, job_id, waiting.pop(0))
    assert len(deliveries.of(job_id)) == 2, "what is being sent stays"
    finish_all(records, job_id, waiting)
    assert told(deliveries, job_id) == ["job.progress", "job.succeeded"]
    other, waiting = begin(records, pieces=1, webhook=URL)
    finish_all(records, other, waiting)
    assert told(deliveries, other) == ["job.succeeded"]


def test_what_is_claimed_is_nobody_elses_until_the_claim_lapses(records, deliveries, client):
    fail(records, create(records, webhook=URL))
    [call] = claim(deliveries)
    assert claim(deliveries) == []
    receiver = call.delivery.receiver
    make_due(client, f"calls:{receiver}")
    make_due(client, "calls")
    [again] = claim(deliveries)
    assert (again.delivery.id, again.claim) == (call.delivery.id, call.claim + 1)
    late = Attempt(time.time(), "200", 5)
    assert not deliveries.report(call, late, "delivered"), "its claim has lapsed"
    assert deliveries.report(again, late, "delivered")
    assert deliveries.get(call.delivery.id).state == "delivered"


def test_an_attempt_that_failed_is_made_again_at_its_time(records, deliveries, client):
    job_id = create(records, webhook=URL)
    fail(records, job_id)
    [call] = claim(deliveries)
    assert deliveries.report(call, Attempt(1000.5, "500", 7), "pending", again_in=60)
    assert claim(deliveries) == []
    [one] = deliveries.of(job_id)
    assert (one.state, one.attempts, one.log) == ("pending", 1, (Attempt(1000.5, "500", 7),))
    assert 55 < one.next_at - time.time() < 65


def test_one_receiver_holds_up_no_other(records, deliveries):
    for _ in range(30):
        fail(records, create(records, webhook="http://slow.example/"))
    fail(records, create(records, webhook="http://quick.example/"))
    calls = claim(deliveries, most=10, room=3)
    assert [one.delivery.receiver for one in calls] == ["slow.example:80"] * 3 + ["quick.example:80"]
    rest = claim(deliveries, most=10, room=3, rooms={"slow.example:80": 0})
    assert rest == []


def test_what_is_over_is_forgotten_after_its_time(records, deliveries, client):
    job_id = create(records, webhook=URL, webhook_events_filter=["job.started", "job.failed"])
    fail(records, job_id)
    first, second = claim(deliveries)
    index = f"{PREFIX}deliveries:{job_id}"
    deliveries.report(first, Attempt(1.0, "200", 1), "delivered")
    assert client.ttl(index) == -1, "another is pending"
    deliveries.report(second, Attempt(1.0, "200", 1), "failed")
    for key in (index, *(f"{PREFIX}delivery:{call.delivery.id}" for call in (first, second))):
        assert 90 < client.ttl(key) <= 100
    assert client.keys(f"{PREFIX}calls*") == []


def test_the_log_of_attempts_is_bounded(records, deliveries, client):
    job_id = create(records, webhook=URL)
    fail(records, job_id)
    for number in range(30):
        [call] = claim(deliveries)
        deliveries.report(call, Attempt(float(number), "500", 1), "pending", again_in=-1)
    [one] = deliveries.of(job_id)
    assert (one.attempts, len(one.log), one.log[-1].at) == (30, 20, 29.0)


def test_redelivered_under_the_same_id(records, deliveries, client):
    job_id = create(records, webhook=URL)
    fail(records, job_id)
    [call] = claim(deliveries)
    deliveries.report(call, Attempt(1.0, "200", 1), "delivered")
    assert deliveries.redeliver(call.delivery.id)
    [again] = claim(deliveries)
    assert (again.delivery.id, again.delivery.attempts) == (call.delivery.id, 0)
    assert again.delivery.body() == call.delivery.body()
    assert client.ttl(f"{PREFIX}delivery:{call.delivery.id}") == -1
    assert not deliveries.redeliver("msg_none")


def test_the_end_of_a_hook_drops_what_is_owed_to_it_alone(records, deliveries):
    deliveries.enlist(OWNER, "we1", revision=1, url=URL, events=("job.failed",))
    job_id = create(records, webhook=URL, webhook_events_filter=["job.started", "job.failed"])
    split = taken(records, job_id, SPLIT)
    [call] = claim(deliveries)
    assert deliveries.report(call, Attempt(1.0, "410", 1), "gone")
    assert records.fail(job_id, ERROR, split)
    assert {(one.target, one.type): one.state for one in deliveries.of(job_id)} == {
        ("hook", "job.started"): "failed",
        ("we1", "job.failed"): "pending",
    }


def test_what_is_released_used_no_attempt_up(records, deliveries):
    job_id = create(records, webhook=URL)
    fail(records, job_id)
    [call] = claim(deliveries)
    deliveries.release(call, seconds=-1)
    [again] = claim(deliveries)
    assert again.delivery.attempts == 0


def test_a_job_that_is_deleted_is_told_of_all_the_same(records, deliveries):
    job_id = create(records, webhook=URL)
    fail(records, job_id)
    assert records.remove(job_id)
    [call] = claim(deliveries)
    assert call.delivery.type == "job.failed"


def test_a_batch_can_owe(client, deliveries):
    """As its part of the script does when a batch ends."""
    script = client.register_script(_with_batch_command())
    script(args=[PREFIX, "test_owe", "b1", OWNER, "example.org:443 batch.completed https://example.org/b"])
    script(args=[PREFIX, "test_owe", "b1", OWNER, "example.org:443 batch.completed https://example.org/b"])
    [one] = deliveries.of("b1")
    assert (one.type, one.sequence, one.url) == ("batch.completed", 7, "https://example.org/b")
    assert '"urls":{"self":"/v1/batches/b1"}' in one.body()


def _with_batch_command() -> str:
    from shared.records import script

    command = """
function commands.test_owe(owner, hook)
  owe(owner, id, 'batch.completed', 7, 'completed', hook, '')
end
local GLOBAL"""
    return script._SCRIPT.replace("\nlocal GLOBAL", command)


def test_a_record_made_anew_from_its_manifest_owes_again(records, deliveries, client):
    asked = manifest(webhook=URL)
    client.flushall()
    records.create(asked)
    fail(records, asked.id)
    assert told(deliveries, asked.id) == ["job.failed"]


def test_a_window_that_is_done_twice_is_told_once(records, deliveries, client):
    job_id, _ = begin(records, pieces=1, webhook=URL, webhook_events_filter=["job.progress"])
    client.hset(f"{PREFIX}job:{{{job_id}}}", "told", 0)
    work = taken(records, job_id, Piece("restore", 0))
    for _ in range(2):
        records.complete(job_id, work, model="Model")
    assert len(deliveries.of(job_id)) == 1
