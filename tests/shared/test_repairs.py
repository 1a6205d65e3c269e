"""Who leads, and which messages are sent again."""

import time

import pytest

from shared.jobs import Status
from shared.records import SPLIT, JobRecords, Lane, Message, Refusal, Suspect
from tests.shared.conftest import begin, create, finish, lapse, make_due, manifest, only_pieces, taken

RESTORE = Lane("restore", "interactive")
AGAIN = Lane("restore", "interactive", again=True)


def test_one_leads_until_it_resigns(repairs):
    assert repairs.lead("r", "one", seconds=60)
    assert not repairs.lead("r", "two", seconds=60)
    assert repairs.lead("another role", "two", seconds=60)
    assert repairs.lead("r", "one", seconds=60)
    repairs.resign("r", "two")
    assert not repairs.lead("r", "two", seconds=60), "who does not lead cannot resign"
    repairs.resign("r", "one")
    assert repairs.lead("r", "two", seconds=60)


def test_a_lead_that_is_not_kept_lapses(repairs):
    repairs.lead("r", "one", seconds=0.05)
    while not repairs.lead("r", "two", seconds=60):
        time.sleep(0.01)


def test_a_lead_that_is_kept_is_prolonged(repairs, client):
    repairs.lead("r", "one", seconds=5)
    repairs.lead("r", "one", seconds=500)
    assert client.ttl("t:lead:r") > 400


# Leases.


def test_pieces_whose_lease_ran_out_are_sent_again_once(records, client, repairs):
    job_id, handed = begin(records, pieces=3)
    taken(records, job_id, handed[0])
    taken(records, job_id, handed[1])
    assert repairs.expired() == []
    client.zadd("t:leases", {f"{job_id} {handed[0]}": 0})
    assert repairs.expired() == [Message(job_id, handed[0], AGAIN, 1)]
    assert repairs.expired() == []


@pytest.fixture
def lapsed(records, client):
    """A piece whose lease ran out; gives job and piece."""
    job_id = create(records)
    taken(records, job_id, SPLIT, owner="one")
    lapse(client)
    return job_id, SPLIT


def test_after_an_outage_of_redis_no_lease_is_taken_for_expired_for_a_while(records, client, repairs, lapsed):
    client.set("t:pulse", records.now() - 3.5)
    repairs.lead("r", "one", seconds=60)
    pardoned = float(client.get("t:amnesty")) - records.now()
    assert 0 < pardoned <= 4
    client.set("t:amnesty", records.now() + 1000)
    assert repairs.expired() == []
    assert records.claim(*lapsed, owner="another") is Refusal.LEASED
    client.set("t:amnesty", records.now() - 1)
    assert only_pieces(repairs.expired()) == [SPLIT]


def test_where_workers_were_heard_of_a_moment_ago_there_is_no_amnesty(records, client, repairs, lapsed):
    # In the future, so that a slow machine does not make an outage of it.
    client.set("t:pulse", records.now() + 1000)
    repairs.lead("r", "one", seconds=60)
    assert client.get("t:amnesty") is None
    assert only_pieces(repairs.expired()) == [SPLIT]


def test_who_does_not_lead_shows_that_redis_was_there_too(records, client, repairs):
    repairs.lead("r", "one", seconds=60)
    client.set("t:pulse", 1)
    assert not repairs.lead("r", "two", seconds=60)
    assert float(client.get("t:pulse")) > 1


# Deadlines.


def late(**options):
    return manifest(created_at=time.time() - 100, deadline_seconds=50, **options)


def test_jobs_whose_deadline_has_passed_end_wherever_they_are(records, repairs):
    queued, running, stopping, done = (late() for _ in range(4))
    in_time, for_ever = manifest(deadline_seconds=1000), manifest()
    jobs = (queued, running, stopping, done, in_time, for_ever)
    for job in jobs:
        records.create(job)
    claim = taken(records, running.id, SPLIT)
    taken(records, stopping.id, SPLIT)
    records.cancel(stopping.id)
    records.cancel(done.id)
    assert sorted(repairs.expire()) == sorted([queued.id, running.id, stopping.id])
    assert repairs.expire() == []
    states = [str(records.state(job.id)) for job in jobs]
    assert states == ["expired", "expired", "canceled", "canceled", "queued", "queued"]
    assert records.complete_split(running.id, claim, pieces=1, reach=1, window=4, seconds=1.0) is None
    assert records.claim(queued.id, SPLIT) is Refusal.GONE


# Messages.


def wake(records, message):
    """Let a worker take a message."""
    return records.claim(message.job_id, message.piece, owner="a worker", message=message)


def sent(records, repairs, *, jobs):
    """Messages of so many jobs of one window, in their order."""
    messages = []
    for _ in range(jobs):
        job_id = create(records)
        claim = taken(records, job_id, SPLIT)
        messages += records.complete_split(job_id, claim, pieces=1, reach=1, window=4, seconds=9.0)
    assert [message.number for message in messages] == list(range(1, jobs + 1))
    return messages


def suspected(message):
    return Suspect(message.job_id, message.piece, message.lane, message.number)


def test_messages_that_wait_in_a_queue_are_no_suspects(records, repairs):
    first, second, _ = sent(records, repairs, jobs=3)
    wake(records, first)
    assert repairs.suspects({RESTORE: False}) == []
    wake(records, second)
    assert repairs.suspects({RESTORE: False}) == []


def test_messages_that_younger_ones_overtook_may_be_lost(records, repairs):
    first, second, third, fourth = sent(records, repairs, jobs=4)
    wake(records, second)
    wake(records, third)
    assert repairs.suspects({RESTORE: False}) == [suspected(first)]
    assert repairs.suspects({AGAIN: False}) == []
    assert repairs.suspects({RESTORE: True}) == [suspected(first), suspected(fourth)], "none can be in an empty queue"


def test_a_piece_that_came_without_a_message_overtakes_none(records, repairs):
    messages = sent(records, repairs, jobs=2)
    wake(records, Message(messages[1].job_id, messages[1].piece, RESTORE))
    assert repairs.suspects({RESTORE: False}) == []


def test_a_message_of_before_redis_was_lost_overtakes_none(records, repairs):
    first, _ = sent(records, repairs, jobs=2)
    old = Message(first.job_id, first.piece, first.lane, 1000)
    wake(records, old)
    assert repairs.suspects({RESTORE: False}) == []


def test_an_older_message_that_is_late_takes_nothing_back(records, repairs):
    first, _, third = sent(records, repairs, jobs=3)
    wake(records, third)
    wake(records, first)
    assert [one.number for one in repairs.suspects({RESTORE: False})] == [2]


def test_a_lost_message_is_sent_again_once(records, repairs):
    lost, other = sent(records, repairs, jobs=2)
    assert repairs.resend([suspected(lost)]) == [Message(lost.job_id, lost.piece, AGAIN, 1)]
    assert repairs.resend([suspected(lost)]) == []
    assert repairs.suspects({RESTORE: True, AGAIN: False}) == [suspected(other)]
    assert repairs.resend([]) == []


def test_a_message_that_was_taken_meanwhile_is_not_sent_again(records, repairs):
    [message] = sent(records, repairs, jobs=1)
    claim = wake(records, message)
    assert repairs.resend([suspected(message)]) == []
    records.hand_back(message.job_id, claim)
    assert repairs.resend([suspected(message)]) == [], "it has another message by now"


def test_messages_of_a_job_that_is_over_are_no_suspects(records, repairs):
    [message] = sent(records, repairs, jobs=1)
    records.cancel(message.job_id)
    assert repairs.suspects({RESTORE: True}) == []
    assert repairs.resend([suspected(message)]) == []
    assert records.state(message.job_id) is Status.CANCELED


def test_of_a_job_that_is_to_stop_nothing_is_sent_again(records, client, repairs):
    job_id, handed = begin(records, pieces=4)
    taken(records, job_id, handed[0])
    records.put_off(job_id, taken(records, job_id, handed[1]))
    assert records.cancel(job_id) is Status.CANCELING
    make_due(client, "later")
    assert repairs.due() == []
    assert repairs.suspects({RESTORE: True}) == []


def test_the_message_of_a_split_is_watched_from_the_beginning(records, repairs):
    job_id = create(records, priority="bulk")
    lane = Lane("split", "bulk")
    assert repairs.suspects({lane: True}) == [Suspect(job_id, SPLIT, lane, 1)]


def test_many_suspects_are_looked_at_in_parts(records, repairs, monkeypatch):
    monkeypatch.setattr("shared.records.repairs._LIMIT", 2)
    sent(records, repairs, jobs=3)
    suspects = repairs.suspects({RESTORE: True})
    assert [one.number for one in suspects] == [1, 2]
    repairs.resend(suspects)
    assert [one.number for one in repairs.suspects({RESTORE: True})] == [3]


def test_what_was_done_is_counted(records, repairs, client):
    job_id, handed = begin(records, pieces=2)
    for piece in handed:
        taken(records, job_id, piece)
    lapse(client)
    repairs.expired()
    repairs.resend(repairs.suspects({AGAIN: True}))
    finish(records, job_id, handed[0])
    records.put_off(job_id, taken(records, job_id, handed[1]))
    told = {name: int(number) for name, number in client.hgetall("t:stats").items()}
    pieces = {"claimed": 5, "completed": 2, "expired": 2, "resent": 2, "troubles": 1}
    assert told == {"created": 1, **pieces}


def test_services_of_two_prefixes_repair_their_own(client, records, repairs):
    other = JobRecords(client, prefix="other:")
    job_id = create(other)
    taken(other, job_id, SPLIT)
    client.zadd("other:leases", {f"{job_id} split": 0})
    assert repairs.expired() == []
