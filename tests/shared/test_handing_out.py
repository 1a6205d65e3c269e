"""Which pieces a job's records hand out, and when."""

import pytest

from shared.records import SPLIT, STITCH, Lane, Message, Piece, Refusal
from tests.shared.conftest import begin, create, finish, only_pieces, taken


@pytest.mark.parametrize("text", ["split", "stitch", "restore:0", "vocode:17"])
def test_a_piece_reads_as_it_is_written(text):
    assert str(Piece.parse(text)) == text


@pytest.mark.parametrize("text", ["bulk:restore", "interactive:vocode:again"])
def test_a_lane_reads_as_it_is_written(text):
    assert str(Lane.parse(text)) == text


def test_messages_are_numbered_in_their_lane(records):
    one, two = create(records), create(records, priority="bulk")
    claim = taken(records, one, SPLIT)
    lane = Lane("restore", "interactive")
    sizes = {"pieces": 2, "reach": 1, "window": 4, "seconds": 9.0}
    assert records.complete_split(one, claim, **sizes) == [
        Message(one, Piece("restore", i), lane, i + 1) for i in (0, 1)
    ]
    claim = taken(records, two, SPLIT)
    assert {(m.lane, m.number) for m in records.complete_split(two, claim, **sizes)} == {
        (Lane("restore", "bulk"), 1),
        (Lane("restore", "bulk"), 2),
    }


def test_only_one_split_counts(records):
    job_id = create(records)
    first, second = taken(records, job_id, SPLIT), taken(records, job_id, SPLIT)
    plan = {"pieces": 2, "reach": 1, "window": 4, "seconds": 60.0}
    assert records.complete_split(job_id, first, **plan) is None
    handed = records.complete_split(job_id, second, **plan)
    assert only_pieces(handed) == [Piece("restore", 0), Piece("restore", 1)]
    assert records.complete_split(job_id, first, **plan) is None
    assert records.winners(job_id, [SPLIT]) == [2]


@pytest.mark.parametrize("window", [1, 2, 4, 7])
@pytest.mark.parametrize("pieces", [1, 2, 3, 9])
@pytest.mark.parametrize("reach", [0, 1, 3])
def test_every_piece_is_handed_out_once_and_never_more_than_the_window(records, window, pieces, reach):
    job_id, waiting = begin(records, pieces=pieces, window=window, reach=reach)
    done, order = set(), list(waiting)
    while waiting != [STITCH]:
        assert 0 < len(waiting) <= window
        piece = waiting.pop(len(order) % len(waiting))  # not always the oldest
        if piece.kind == "vocode":
            near = range(max(0, piece.index - reach), min(pieces, piece.index + reach + 1))
            assert all(Piece("restore", i) in done for i in near)
        handed = finish(records, job_id, piece)
        done.add(piece)
        waiting += handed
        order += handed
    assert sorted(map(str, order)) == sorted(
        [f"restore:{i}" for i in range(pieces)] + [f"vocode:{i}" for i in range(pieces)] + ["stitch"]
    )


def test_ready_vocodes_go_before_new_restores(records):
    job_id, handed = begin(records, pieces=9, window=2)
    assert [str(p) for p in handed] == ["restore:0", "restore:1"]
    assert [str(p) for p in finish(records, job_id, handed[1])] == ["restore:2"]
    assert [str(p) for p in finish(records, job_id, handed[0])] == ["vocode:0"]


def test_a_piece_done_twice_counts_once(records):
    job_id, handed = begin(records, pieces=3, window=1)
    one, two = taken(records, job_id, handed[0]), taken(records, job_id, handed[0])
    assert only_pieces(records.complete(job_id, two, model="M")) == [Piece("restore", 1)]
    assert records.complete(job_id, one, model="M") is None
    assert records.winners(job_id, [handed[0]]) == [2]
    assert records.claim(job_id, handed[0]) is Refusal.DONE


def test_attempts_of_a_finished_piece_are_counted_no_more(records, client):
    job_id, handed = begin(records, pieces=3)
    for piece in handed[1:]:
        taken(records, job_id, piece)
    assert client.hgetall(f"t:job:{{{job_id}}}:tries")
    for piece in handed:
        finish(records, job_id, piece)
    assert client.hgetall(f"t:job:{{{job_id}}}:tries") == {}


def test_the_winner_of_an_unfinished_piece_is_an_error(records):
    job_id, handed = begin(records, pieces=3)
    with pytest.raises(KeyError, match="restore:0"):
        records.winners(job_id, handed[:1])


def test_restore_alone_ends_after_its_restores(records):
    job_id, waiting = begin(records, pieces=2, stages="restore")
    assert finish(records, job_id, waiting[0]) == []
    assert finish(records, job_id, waiting[1]) == [STITCH]


def test_vocode_alone_finds_its_mel_under_the_split_s_attempt(records):
    job_id, waiting = begin(records, pieces=3, stages="vocode")
    assert [str(p) for p in waiting] == ["vocode:0", "vocode:1", "vocode:2"]
    assert records.winners(job_id, [Piece("restore", i) for i in range(3)]) == [1, 1, 1]
