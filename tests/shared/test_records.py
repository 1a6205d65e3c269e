import time

import pytest
import redis

from shared.errors import QueueUnavailable
from shared.jobs import LOCAL, Status
from shared.records import SPLIT, STITCH, Claim, JobRecords, Lane, Message, Piece, Refusal
from tests.shared.conftest import ERROR, OUTPUT, begin, create, finish, finish_all, manifest, only_pieces, taken


def test_a_new_job_is_queued_and_reads_as_it_was_asked(records):
    asked = manifest(mode=1, metadata={"a": "ü"})
    assert records.create(asked) == ("created", [Message(asked.id, SPLIT, Lane("split", "interactive"), 1)])
    job = records.get(asked.id)
    assert job.manifest == asked == records.manifest(asked.id)
    assert (job.status, job.version, job.queue_position) == (Status.QUEUED, 1, 1)
    assert records.create(asked) == ("known", [])


def test_an_unknown_job_is_none(records):
    unknown = "f" * 32
    assert records.get(unknown) is None
    assert records.state(unknown) is None
    assert records.manifest(unknown) is None
    assert records.ending(unknown) is None
    assert records.cancel(unknown) is None
    assert records.claim(unknown, SPLIT) is Refusal.GONE
    assert records.abandon(unknown, Claim(SPLIT, 1)) is None
    assert not records.remove(unknown)


def test_it_is_told_which_jobs_there_are(records):
    there = [create(records) for _ in range(2)]
    assert records.known([*there, "f" * 32]) == set(there)
    assert records.known([]) == set()


def test_only_so_many_jobs_of_a_priority_are_taken_in_until_one_is_over(records):
    first = create(records)
    refused = manifest()
    assert records.create(refused, most=1) == ("full", [])
    assert records.get(refused.id) is None
    assert records.create(manifest(priority="bulk"), most=1)[0] == "created"
    assert (records.open_jobs("interactive"), records.open_jobs("bulk")) == (1, 1)
    records.cancel(first)
    assert records.open_jobs("interactive") == 0
    assert records.create(refused, most=1)[0] == "created"


def test_the_first_claim_starts_the_job_and_attempts_are_numbered(records):
    job_id = create(records)
    assert records.claim(job_id, SPLIT) == Claim(SPLIT, 1)
    assert records.claim(job_id, SPLIT) == Claim(SPLIT, 2)
    read = records.get(job_id)
    assert read.status is Status.PROCESSING
    assert read.started_at is not None


def test_a_command_whose_answer_was_lost_is_answered_as_the_first_time(records):
    """The client repeats a command when a connection breaks, also one that Redis had carried out.

    Its messages are not given twice: the reconciler finds those that were never sent.
    """
    job_id = create(records)
    claim = taken(records, job_id, SPLIT)
    plan = {"pieces": 1, "reach": 1, "window": 4, "seconds": 9.0}
    assert only_pieces(records.complete_split(job_id, claim, **plan)) == [Piece("restore", 0)]
    assert records.complete_split(job_id, claim, **plan) == []
    for done, ready in ((Piece("restore", 0), Piece("vocode", 0)), (Piece("vocode", 0), STITCH)):
        claim = taken(records, job_id, done)
        assert only_pieces(records.complete(job_id, claim, model="M")) == [ready]
        assert records.complete(job_id, claim, model="M") == []
    claim = taken(records, job_id, STITCH)
    assert [records.succeed(job_id, claim, OUTPUT) for _ in range(2)] == [True, True]


def test_progress_grows_with_every_piece(records):
    job_id, waiting = begin(records, pieces=3)
    seen = [records.get(job_id).progress]
    while waiting != [STITCH]:
        waiting += finish(records, job_id, waiting.pop(0))
        seen.append(records.get(job_id).progress)
    assert [p.percent for p in seen] == sorted({p.percent for p in seen})
    assert seen[0].done_seconds == 0
    assert (seen[-1].stage, seen[-1].done_seconds, seen[-1].total_seconds) == ("stitch", 90.0, 90.0)


def test_success_names_the_winning_attempt(records):
    job_id, _ = begin(records, pieces=1)
    finish(records, job_id, Piece("restore", 0))
    finish(records, job_id, Piece("vocode", 0))
    early, late = taken(records, job_id, STITCH), taken(records, job_id, STITCH)
    assert not records.succeed(job_id, early, OUTPUT)
    assert records.succeed(job_id, late, OUTPUT)
    assert not records.succeed(job_id, early, OUTPUT)
    job = records.get(job_id)
    assert (job.status, job.output, job.result_key) == (Status.SUCCEEDED, OUTPUT, f"jobs/{job_id}/result.2")
    assert [m.model_type for m in job.models] == ["Model", "Model"]
    assert job.progress.percent == 100
    ending = records.ending(job_id)
    assert (ending.status, ending.result, ending.output) == (Status.SUCCEEDED, 2, OUTPUT)
    assert ending.models == {"restore": "Model sha256:ab", "vocode": "Model sha256:ab"}


def test_a_failed_job_tells_why_and_takes_no_more_work(records):
    job_id, handed = begin(records, pieces=3)
    claim, other = taken(records, job_id, handed[0]), taken(records, job_id, handed[1])
    assert records.ending(job_id) is None
    assert records.fail(job_id, ERROR, claim)
    assert not records.fail(job_id, ERROR, claim)
    assert records.complete(job_id, other, model="M") is None
    assert records.claim(job_id, handed[2]) is Refusal.GONE
    assert records.get(job_id).error == ERROR == records.ending(job_id).error


def test_a_late_attempt_cannot_fail_a_job_whose_piece_is_done(records):
    job_id, handed = begin(records, pieces=3)
    late = taken(records, job_id, handed[0])
    finish(records, job_id, handed[0])
    assert not records.fail(job_id, ERROR, late)
    assert records.get(job_id).status is Status.PROCESSING
    assert records.fail(job_id, ERROR, taken(records, job_id, handed[1]))


def test_a_queued_job_is_canceled_at_once(records):
    job_id = create(records)
    assert records.cancel(job_id) is Status.CANCELED
    assert records.claim(job_id, SPLIT) is Refusal.GONE
    assert records.cancel(job_id) is Status.CANCELED


def test_a_running_job_at_which_no_worker_is_is_canceled_at_once(records, client):
    job_id, handed = begin(records, pieces=3)
    records.put_off(job_id, taken(records, job_id, handed[0]))
    assert records.cancel(job_id) is Status.CANCELED
    assert records.claim(job_id, handed[1]) is Refusal.GONE
    assert [state for _, state, _ in events(client)][-2:] == ["canceling", "canceled"]


def test_a_running_job_is_canceled_when_the_last_worker_lets_go(records):
    job_id, handed = begin(records, pieces=3)
    one, two = taken(records, job_id, handed[0]), taken(records, job_id, handed[1])
    assert records.cancel(job_id) is Status.CANCELING
    assert records.complete(job_id, one, model="M") is None
    assert not records.fail(job_id, ERROR, one)
    assert records.claim(job_id, handed[2]) is Refusal.CANCELING
    assert records.abandon(job_id, one) is Status.CANCELING
    assert records.abandon(job_id, one) is Status.CANCELING, "twice is once"
    assert records.abandon(job_id, two) is Status.CANCELED


def test_a_piece_of_a_running_job_is_not_let_go(records):
    job_id, handed = begin(records, pieces=3)
    claim = taken(records, job_id, handed[0])
    assert records.abandon(job_id, claim) is Status.PROCESSING
    assert records.claim(job_id, handed[0], owner="another") is Refusal.LEASED
    assert records.complete(job_id, claim, model="M") is not None


def events(client):
    return [(one["id"], one["status"], int(one["version"])) for _, one in client.xrange("t:events")]


def test_each_change_of_state_is_told_once_and_in_order(records, client):
    done, handed = begin(records, pieces=2)
    finish_all(records, done, handed)
    stopped, handed = begin(records, pieces=2)
    claim = taken(records, stopped, handed[0])
    for _ in range(2):
        records.cancel(stopped)
    for _ in range(2):
        records.abandon(stopped, claim)
    told = {job_id: [state for one, state, _ in events(client) if one == job_id] for job_id in (done, stopped)}
    assert told[done] == ["queued", "processing", "succeeded"]
    assert told[stopped] == ["queued", "processing", "canceling", "canceled"]
    for job_id in (done, stopped):
        versions = [version for one, _, version in events(client) if one == job_id]
        assert versions == sorted(set(versions))
        assert versions[-1] == records.get(job_id).version


def end(records, repairs, state):
    """Bring a job of which much is under way to its end."""
    past = {"created_at": time.time() - 100} if state is Status.EXPIRED else {}
    job_id, handed = begin(records, pieces=6, deadline_seconds=50, **past)
    if state is Status.SUCCEEDED:
        finish_all(records, job_id, handed)
        return job_id
    finish(records, job_id, handed[0])
    records.put_off(job_id, taken(records, job_id, handed[1]))
    waiter = taken(records, job_id, handed[2])
    records.lost(job_id, waiter, handed[0], 1)
    claim = taken(records, job_id, handed[3])
    if state is Status.FAILED:
        records.fail(job_id, ERROR, claim)
    elif state is Status.CANCELED:
        records.cancel(job_id)
        records.abandon(job_id, claim)
    else:
        assert repairs.expire() == [job_id]
    return job_id


@pytest.mark.parametrize("state", [Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.EXPIRED])
def test_of_a_job_that_is_over_only_what_is_asked_for_is_kept(records, repairs, client, state):
    job_id = end(records, repairs, state)
    assert records.get(job_id).status is state
    key = f"t:job:{{{job_id}}}"
    assert set(client.keys(f"*{job_id}*")) == {key, f"{key}:doc"}
    sets = [name for name in client.keys("t:*") if client.type(name) == "zset"]
    listed = {name for name in sets if any(job_id in member for member in client.zrange(name, 0, -1))}
    assert listed == {f"t:jobs:local:{state}", "t:tidy", "t:stored"}


@pytest.mark.parametrize("state", [Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.EXPIRED])
def test_only_a_job_that_is_over_is_removed_and_leaves_its_name_alone(records, repairs, retention, client, state):
    running, _ = begin(records, pieces=3)
    assert not records.remove(running)
    job_id = end(records, repairs, state)
    assert records.remove(job_id)
    assert records.get(job_id) is None
    assert client.keys(f"*{job_id}*") == []
    assert retention.is_gone(job_id)
    assert records.known([running, job_id]) == {running}


def test_a_withdrawn_job_is_as_if_it_had_never_been(records, client):
    job_id = create(records)
    assert records.withdraw(job_id)
    assert not records.withdraw(job_id)
    assert records.get(job_id) is None
    assert client.keys(f"*{job_id}*") == []
    assert records.open_jobs("interactive") == 0


def test_a_job_that_a_worker_has_begun_is_not_withdrawn(records):
    job_id = create(records)
    taken(records, job_id, SPLIT)
    assert not records.withdraw(job_id)
    assert records.state(job_id) is Status.PROCESSING


def test_pages_go_on_where_the_last_one_ended(records):
    moment = round(time.time(), 3)
    # Three of one instant: only their ids tell them apart.
    jobs = [manifest(created_at=moment + i // 3) for i in range(8)]
    for job in jobs:
        records.create(job)
    expected = [j.id for j in sorted(jobs, key=lambda j: (j.created_at, j.id), reverse=True)]
    found, before = [], None
    while page := records.page(LOCAL, status=None, created_after=None, before=before, limit=3):
        found += [job.manifest.id for job in page]
        before = (page[-1].manifest.created_at, page[-1].manifest.id)
    assert found == expected
    after = records.page(LOCAL, status=Status.QUEUED, created_after=moment, before=None, limit=100)
    assert [j.manifest.id for j in after] == expected[:5]
    assert records.page(LOCAL, status=Status.FAILED, created_after=None, before=None, limit=3) == []


def test_a_job_at_rest_costs_about_a_kilobyte(records, client):
    job_id, handed = begin(records, pieces=40, metadata={"archive": "tape 17", "shelf": 4})
    finish_all(records, job_id, handed)
    assert sum(client.memory_usage(key) for key in client.keys("t:job:*")) < 1600


def test_times_are_of_the_clock_of_redis(records, client):
    seconds, _ = client.time()
    assert seconds <= records.now() < seconds + 3600


def test_redis_that_is_away_is_one_clear_error_without_its_url():
    records = JobRecords(redis.Redis.from_url("redis://:secret@127.0.0.1:1/0"), prefix="t:")
    with pytest.raises(QueueUnavailable, match="VFQ_REDIS_URL") as caught:
        records.get("a" * 32)
    assert "secret" not in str(caught.value)


def test_who_is_patient_asks_again_until_redis_is_back(client, monkeypatch):
    monkeypatch.setattr("shared.records.script.time.sleep", lambda _: None)
    away = iter([True] * 3)

    def ping():
        if next(away, False):
            raise redis.ConnectionError("away")

    monkeypatch.setattr(client, "ping", ping)
    JobRecords(client, patient=lambda: True).ping()
    assert next(away, None) is None


def test_patience_has_an_end(client, monkeypatch):
    monkeypatch.setattr("shared.records.script.time.sleep", lambda _: None)
    asked = []

    def ping():
        asked.append(1)
        raise redis.ConnectionError("away")

    monkeypatch.setattr(client, "ping", ping)
    with pytest.raises(QueueUnavailable):
        JobRecords(client, patient=iter([True, True, False]).__next__).ping()
    assert len(asked) == 3
