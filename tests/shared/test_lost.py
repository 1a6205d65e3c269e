"""Work that cannot be read any more, and who makes it again."""

import pytest

from shared.records import Lane, LostAgain, Message, Piece, Refusal
from tests.shared.conftest import begin, finish, only_pieces, taken


@pytest.fixture
def long_job(records):
    """A job of six windows, the first three restored; gives its id and the claim of vocode:0."""
    job_id, _ = begin(records, pieces=6, window=3, plan="the plan")
    for index in range(3):
        finish(records, job_id, Piece("restore", index))
    return job_id, taken(records, job_id, Piece("vocode", 0))


def test_a_claim_tells_the_plan_and_which_mels_count(records, long_job):
    job_id, first = long_job
    assert (first.plan, first.mels, first.priority) == ("the plan", {0: 1, 1: 1}, "interactive")
    assert taken(records, job_id, Piece("vocode", 1)).mels == {0: 1, 1: 1, 2: 1}
    assert taken(records, job_id, Piece("restore", 3)).mels == {}


def test_a_piece_that_was_not_handed_out_is_not_to_be_had(records, long_job):
    job_id, _ = long_job
    assert records.claim(job_id, Piece("vocode", 5)) is Refusal.DONE


def test_lost_work_is_made_again_under_another_number_and_who_missed_it_goes_on_after(records, long_job):
    job_id, first = long_job
    lost = Piece("restore", 1)
    [message] = records.lost(job_id, first, lost, 1)
    assert (message.piece, message.lane) == (lost, Lane("restore", "interactive", again=True))
    assert records.get(job_id).progress.done_seconds == 0
    assert records.claim(job_id, first.piece) is Refusal.DONE, "it waits"
    again = taken(records, job_id, lost)
    assert again.attempt > 1
    handed = records.complete(job_id, again, model="m")
    assert Message(job_id, first.piece, Lane("vocode", "interactive", again=True), 1) in handed
    assert taken(records, job_id, first.piece).mels == {0: 1, 1: again.attempt}


def test_the_attempt_whose_work_was_lost_does_not_count_should_it_report_again(records, long_job):
    job_id, first = long_job
    lost = taken(records, job_id, Piece("restore", 3))
    records.complete(job_id, lost, model="m")
    records.lost(job_id, first, lost.piece, lost.attempt)
    assert records.complete(job_id, lost, model="m") is None
    taken(records, job_id, lost.piece)
    assert records.complete(job_id, lost, model="m") is None


def test_work_that_two_miss_is_made_once_and_both_go_on(records, long_job):
    job_id, first = long_job
    second, lost = taken(records, job_id, Piece("vocode", 1)), Piece("restore", 1)
    assert only_pieces(records.lost(job_id, first, lost, 1)) == [lost]
    assert records.lost(job_id, second, lost, 1) == []
    assert records.lost(job_id, first, lost, 1) is None, "it waits already"
    handed = finish(records, job_id, lost)
    assert {Piece("vocode", 0), Piece("vocode", 1)} <= set(handed)


def test_who_misses_what_has_been_made_again_meanwhile_goes_on_at_once(records, long_job):
    job_id, first = long_job
    second, lost = taken(records, job_id, Piece("vocode", 1)), Piece("restore", 1)
    records.lost(job_id, first, lost, 1)
    finish(records, job_id, lost)
    assert only_pieces(records.lost(job_id, second, lost, 1)) == [second.piece]
    assert taken(records, job_id, second.piece, owner="another").attempt == 2


def test_who_missed_a_piece_and_was_done_by_another_attempt_leaves_its_making_to_the_next(records):
    job_id, _ = begin(records, pieces=3)
    for index in range(3):
        finish(records, job_id, Piece("restore", index))
    one, other = taken(records, job_id, Piece("vocode", 0)), taken(records, job_id, Piece("vocode", 0))
    assert records.lost(job_id, one, Piece("restore", 0), 1) is None
    records.complete(job_id, other, model="M")
    late = taken(records, job_id, Piece("vocode", 1))
    assert only_pieces(records.lost(job_id, late, Piece("restore", 0), 1)) == [Piece("restore", 0)]


def test_what_needs_a_mel_that_is_made_again_is_not_handed_out_before_it_is(records):
    job_id, _ = begin(records, pieces=6, window=6)
    for index in range(4):
        finish(records, job_id, Piece("restore", index))
    waiter = taken(records, job_id, Piece("vocode", 1))
    records.lost(job_id, waiter, Piece("restore", 2), 1)
    assert Piece("vocode", 3) not in finish(records, job_id, Piece("restore", 4))
    assert {Piece("vocode", 1), Piece("vocode", 3)} <= set(finish(records, job_id, Piece("restore", 2)))


def test_work_that_is_lost_again_and_again_is_not_made_for_ever(records, long_job):
    job_id, first = long_job
    lost, attempt = Piece("restore", 1), 1
    for _ in range(3):
        assert only_pieces(records.lost(job_id, first, lost, attempt)) == [lost]
        again = taken(records, job_id, lost)
        records.complete(job_id, again, model="m")
        first, attempt = taken(records, job_id, first.piece), again.attempt
    with pytest.raises(LostAgain):
        records.lost(job_id, first, lost, attempt)


def test_nothing_is_made_again_for_a_job_that_is_to_stop(records, long_job):
    job_id, first = long_job
    records.cancel(job_id)
    assert records.lost(job_id, first, Piece("restore", 1), 1) is None
