"""Leases, their numbers, and how an attempt that came to nothing ends."""

import pytest

from shared.jobs import Status
from shared.records import SPLIT, JobRecords, Lane, Piece, Refusal, Repairs, Terms
from tests.shared.conftest import ERROR, begin, create, lapse, make_due, only_pieces, taken


@pytest.fixture
def piece(records):
    """A job of three windows and its first piece."""
    job_id, handed = begin(records, pieces=3)
    return job_id, handed[0]


def test_a_piece_belongs_to_one_worker_until_its_lease_has_run_out(records, client, piece):
    one = taken(records, *piece, owner="one")
    assert records.claim(*piece, owner="another") is Refusal.LEASED
    lapse(client)
    another = taken(records, *piece, owner="another")
    assert another.attempt == one.attempt + 1
    assert records.claim(*piece, owner="one") is Refusal.LEASED


def test_who_asks_twice_gets_the_piece_under_another_number(records, piece):
    first, second = (taken(records, *piece, owner="one") for _ in range(2))
    assert records.complete(piece[0], first, model="M") is None
    assert records.complete(piece[0], second, model="M") is not None


def test_an_attempt_counts_no_more_once_another_has_been_claimed(records, client, piece):
    """It was paused, or cut off, and wakes while its successor is at work."""
    job_id, _ = piece
    old = taken(records, *piece, owner="one")
    lapse(client)
    new = taken(records, *piece, owner="another")
    assert records.complete(job_id, old, model="M") is None
    assert not records.fail(job_id, ERROR, old)
    assert records.put_off(job_id, old) is None
    assert records.hand_back(job_id, old) == []
    assert records.use_up(job_id, old, "it broke") == []
    assert records.lost(job_id, old, SPLIT, 1) is None
    assert not records.begin(job_id, old)
    assert records.complete(job_id, new, model="M") is not None


def test_an_attempt_counts_although_its_lease_ran_out_while_nobody_else_has_claimed(records, client, repairs, piece):
    job_id, one = piece
    claim = taken(records, job_id, one, owner="one")
    lapse(client)
    assert only_pieces(repairs.expired()) == [one]
    assert records.complete(job_id, claim, model="M") is not None
    assert records.winners(job_id, [one]) == [claim.attempt]
    assert records.claim(job_id, one, owner="another") is Refusal.DONE, "its message comes in vain"


def test_renewing_tells_which_claims_count(clean_redis, client):
    records = JobRecords(client, prefix="t:", terms=Terms(lease=60))
    going, handed = begin(records, pieces=3)
    stopping, others = begin(records, pieces=3)
    overtaken = taken(records, going, handed[0], owner="one")
    lapse(client)
    held, ready = taken(records, going, handed[0], owner="another"), taken(records, going, handed[1])
    records.complete(going, ready, model="M")
    stopped = taken(records, stopping, others[0])
    records.cancel(stopping)
    name = f"{going} {handed[0]}"
    before = client.zscore("t:leases", name)
    asked = [(going, overtaken), (going, held), (going, ready), (stopping, stopped), ("f" * 32, held)]
    assert records.renew(asked) == [False, True, False, False, False]
    assert client.zscore("t:leases", name) > before
    assert client.zcard("t:leases") == 2, "renewing takes no lease anew"
    assert records.renew([]) == []


def test_a_lease_that_ran_out_and_was_taken_back_is_not_renewed(records, client, repairs, piece):
    claim = taken(records, *piece)
    lapse(client)
    assert records.renew([(piece[0], claim)]) == [True], "nobody has taken it back yet"
    lapse(client)
    repairs.expired()
    assert records.renew([(piece[0], claim)]) == [False]
    assert client.zcard("t:leases") == 0


def test_a_lease_holds_for_as_long_as_the_terms_say(client):
    records = JobRecords(client, prefix="t:", terms=Terms(lease=1000))
    job_id = create(records)
    taken(records, job_id, SPLIT)
    assert 900 < client.zscore("t:leases", f"{job_id} split") - records.now() <= 1000


# What is put off.


def test_what_meets_something_absent_is_put_off_for_longer_each_time_and_uses_no_attempt_up(
    records, client, repairs, monkeypatch, piece
):
    monkeypatch.setattr("shared.records.store.random.random", lambda: 1.0)
    job_id, one = piece
    pauses = []
    for _ in range(7):
        claim = taken(records, job_id, one)
        assert not claim.alone
        pauses.append(records.put_off(job_id, claim))
        assert repairs.due() == []
        make_due(client, "later")
        [message] = repairs.due()
        assert (message.piece, message.lane) == (one, Lane("restore", "interactive", again=True))
    assert pauses == [1, 2, 4, 8, 15, 15, 15]
    assert records.complete(job_id, taken(records, job_id, one), model="M") is not None


def test_what_is_put_off_may_come_up_to_half_as_late(records, monkeypatch, piece):
    monkeypatch.setattr("shared.records.store.random.random", lambda: 0.0)
    assert records.put_off(piece[0], taken(records, *piece)) == 0.5


def test_a_piece_that_was_put_off_may_be_claimed_by_whom_an_old_message_reaches(records, repairs, client, piece):
    records.put_off(piece[0], taken(records, *piece, owner="one"))
    taken(records, *piece, owner="another")
    make_due(client, "later")
    assert repairs.due() == []


# What is handed back.


def test_what_is_handed_back_goes_first_and_uses_no_attempt_up(records, piece):
    job_id, one = piece
    for number in range(5):
        claim = taken(records, job_id, one, owner=f"worker {number}")
        assert not claim.alone
        [message] = records.hand_back(job_id, claim)
        assert (message.piece, message.lane) == (one, Lane("restore", "interactive", again=True))
    assert records.state(job_id) is Status.PROCESSING


# What is used up.


def test_after_so_many_attempts_that_came_to_nothing_the_job_fails_and_says_why(client, records):
    records = JobRecords(client, prefix="t:", terms=Terms(attempts=2))
    job_id, handed = begin(records, pieces=3)
    piece = handed[1]
    assert only_pieces(records.use_up(job_id, taken(records, job_id, piece), "it broke")) == [piece]
    claim = taken(records, job_id, piece)
    assert claim.alone
    assert records.use_up(job_id, claim, "it broke again") == []
    job = records.get(job_id)
    assert (job.status, job.error.code, job.error.stage) == (Status.FAILED, "chunk_failed", "restore")
    assert (job.error.attempts, job.error.cause) == (2, "it broke again")
    assert "restore of window 1" in job.error.message
    assert "2 attempts" in job.error.message
    assert records.ending(job_id).error == job.error


def test_pieces_without_a_window_are_named_too(client):
    records = JobRecords(client, prefix="t:", terms=Terms(attempts=1))
    job_id = create(records)
    records.use_up(job_id, taken(records, job_id, SPLIT), "it broke")
    error = records.get(job_id).error
    assert (error.code, error.stage) == ("chunk_failed", "split")
    assert error.message.startswith("split came to nothing in 1 attempt: it broke")


def test_attempts_of_one_piece_are_not_those_of_another(records, piece):
    job_id, one = piece
    for other in (one, Piece("restore", 1)):
        for _ in range(2):
            assert records.use_up(job_id, taken(records, job_id, other), "it broke")
    assert records.state(job_id) is Status.PROCESSING


def test_a_cause_of_any_text_is_told_as_it_is(client):
    records = JobRecords(client, prefix="t:", terms=Terms(attempts=1))
    job_id = create(records)
    cause = 'a "quoted" ü\\\n\u2028\x07'
    records.use_up(job_id, taken(records, job_id, SPLIT), cause)
    assert records.get(job_id).error.cause == cause
    assert records.ending(job_id).error.cause == cause


def die(records, client, repairs, job_id, piece, *, begun=True):
    """A worker takes the piece and is heard of no more; gives its claim and what is sent."""
    claim = taken(records, job_id, piece, owner="the dead")
    if claim.alone and begun:
        assert records.begin(job_id, claim)
    lapse(client)
    return claim, only_pieces(repairs.expired())


def test_a_piece_that_ends_its_worker_each_time_fails_its_job(records, client, repairs, piece):
    job_id, one = piece
    claims, sent = zip(*(die(records, client, repairs, job_id, one) for _ in range(3)), strict=True)
    assert [claim.alone for claim in claims] == [False, True, True]
    assert sent == ([one], [one], [])
    error = records.get(job_id).error
    assert (error.code, error.attempts) == ("chunk_failed", 3)
    assert "worker died" in error.cause


def test_a_suspect_that_its_dead_worker_never_began_has_not_come_to_nothing(records, client, repairs, piece):
    """It waited to be alone when another piece ended the worker."""
    job_id, one = piece
    die(records, client, repairs, job_id, one)
    for _ in range(5):
        assert die(records, client, repairs, job_id, one, begun=False)[1] == [one]
    assert records.state(job_id) is Status.PROCESSING
    die(records, client, repairs, job_id, one)
    assert records.state(job_id) is Status.PROCESSING
    die(records, client, repairs, job_id, one)
    assert records.state(job_id) is Status.FAILED


def test_a_death_that_the_next_worker_sees_first_uses_one_attempt_up(client):
    records, repairs = (
        JobRecords(client, prefix="t:", terms=Terms(attempts=2)),
        Repairs(client, prefix="t:", attempts=2),
    )
    job_id, handed = begin(records, pieces=3)
    taken(records, job_id, handed[0], owner="one")
    lapse(client)
    second = taken(records, job_id, handed[0], owner="another")
    assert second.alone
    assert repairs.expired() == []
    records.begin(job_id, second)
    lapse(client)
    assert records.claim(job_id, handed[0], owner="a third") is Refusal.GONE
    assert records.get(job_id).error.attempts == 2


def test_the_worker_of_a_job_that_is_to_stop_dies_and_the_job_ends(records, client, repairs, piece):
    job_id, one = piece
    taken(records, job_id, one)
    assert records.cancel(job_id) is Status.CANCELING
    lapse(client)
    assert repairs.expired() == []
    assert records.state(job_id) is Status.CANCELED


def test_an_attempt_that_came_to_nothing_counts_once_if_its_answer_was_lost(client):
    """redis-py sends a command again when its connection breaks before the answer; each counts once."""
    records = JobRecords(client, prefix="t:", terms=Terms(attempts=2))
    job_id, handed = begin(records, pieces=3)
    claim = taken(records, job_id, handed[0])
    for _ in range(2):
        records.use_up(job_id, claim, "an unexpected OSError")
    assert records.get(job_id).status is Status.PROCESSING, "one attempt of two was made"


def test_an_attempt_whose_lease_lapsed_counts_once_when_its_worker_reports(client, repairs):
    records = JobRecords(client, prefix="t:", terms=Terms(attempts=2))
    job_id, handed = begin(records, pieces=3)
    claim = taken(records, job_id, handed[0])
    client.zadd("t:leases", {f"{job_id} {handed[0]}": 0})
    repairs.expired()
    records.use_up(job_id, claim, "an unexpected OSError")
    assert records.get(job_id).status is Status.PROCESSING, "one attempt of two was made"
