import time
import uuid

import pytest
import redis

from shared.errors import QueueUnavailable
from shared.jobs import JobError, JobInput, JobOptions, JobOutput, Manifest, Status
from shared.records import SPLIT, STITCH, Claim, JobRecords, LostAgain, Piece, Refusal, connect

OUTPUT = JobOutput(format="wav", media_type="audio/wav", filename="a-restored.wav", bytes=10, samples=3)


@pytest.fixture
def records(clean_redis):
    return JobRecords(connect(clean_redis), prefix="t:")


@pytest.fixture
def client(clean_redis):
    return redis.Redis.from_url(clean_redis, decode_responses=True)


def manifest(**options):
    job_id = uuid.uuid4().hex
    return Manifest(
        id=job_id,
        created_at=time.time(),
        input=JobInput(key=f"jobs/{job_id}/source", filename="a.wav", bytes=5),
        options=JobOptions(**options),
    )


def begin(records, *, pieces, window=4, reach=1, **options):
    """Create and split a job; give its id and what was handed out."""
    job = manifest(**options)
    records.create(job)
    claim = records.claim(job.id, SPLIT)
    return job.id, records.complete_split(job.id, claim, pieces=pieces, reach=reach, window=window, seconds=90.0)


def finish(records, job_id, piece):
    return records.complete(job_id, records.claim(job_id, piece), model="Model sha256:ab")


def test_a_new_job_is_queued_and_reads_as_it_was_asked(records):
    asked = manifest(mode=1, metadata={"a": "ü"})
    assert records.create(asked)
    job = records.get(asked.id)
    assert job.manifest == asked
    assert (job.status, job.version, job.queue_position) == (Status.QUEUED, 1, 1)
    assert not records.create(asked)


def test_an_unknown_job_is_none(records):
    assert records.get("f" * 32) is None
    assert records.cancel("f" * 32) is None
    assert records.claim("f" * 32, SPLIT) is Refusal.GONE
    assert not records.remove("f" * 32)


def test_the_first_claim_starts_the_job_and_attempts_are_numbered(records):
    job = manifest()
    records.create(job)
    assert records.claim(job.id, SPLIT) == Claim(SPLIT, 1)
    assert records.claim(job.id, SPLIT) == Claim(SPLIT, 2)
    read = records.get(job.id)
    assert read.status is Status.PROCESSING
    assert read.started_at is not None


def test_only_one_split_counts(records):
    job = manifest()
    records.create(job)
    first, second = records.claim(job.id, SPLIT), records.claim(job.id, SPLIT)
    plan = {"pieces": 2, "reach": 1, "window": 4, "seconds": 60.0}
    assert records.complete_split(job.id, second, **plan) == [Piece("restore", 0), Piece("restore", 1)]
    assert records.complete_split(job.id, first, **plan) is None
    assert records.winners(job.id, [SPLIT]) == [2]


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
    one, two = records.claim(job_id, handed[0]), records.claim(job_id, handed[0])
    assert records.complete(job_id, two, model="M") == [Piece("restore", 1)]
    assert records.complete(job_id, one, model="M") is None
    assert records.winners(job_id, [handed[0]]) == [2]
    assert records.claim(job_id, handed[0]) is Refusal.DONE


def test_a_command_whose_answer_was_lost_is_answered_as_the_first_time(records):
    """The client repeats a command when a connection breaks, also one that Redis had carried out."""
    job = manifest()
    records.create(job)
    claim = records.claim(job.id, SPLIT)
    plan = {"pieces": 1, "reach": 1, "window": 4, "seconds": 9.0}
    assert [records.complete_split(job.id, claim, **plan) for _ in range(2)] == [[Piece("restore", 0)]] * 2
    claim = records.claim(job.id, Piece("restore", 0))
    assert [records.complete(job.id, claim, model="M") for _ in range(2)] == [[Piece("vocode", 0)]] * 2
    claim = records.claim(job.id, Piece("vocode", 0))
    assert [records.complete(job.id, claim, model="M") for _ in range(2)] == [[STITCH]] * 2
    claim = records.claim(job.id, STITCH)
    assert [records.succeed(job.id, claim, OUTPUT) for _ in range(2)] == [True, True]


def test_pieces_that_were_handed_out_are_remembered_until_they_are_sent(records):
    job_id, handed = begin(records, pieces=2)
    assert records.unsent(job_id, SPLIT) == (1, handed)
    records.sent(job_id, SPLIT, 2)
    assert records.unsent(job_id, SPLIT) == (1, handed)
    records.sent(job_id, SPLIT, 1)
    assert records.unsent(job_id, SPLIT) == (1, [])


def test_who_missed_a_piece_and_was_done_by_another_attempt_leaves_its_making_to_the_next(records):
    job_id, _ = begin(records, pieces=3)
    for index in range(2):
        finish(records, job_id, Piece("restore", index))
    one, other = records.claim(job_id, Piece("vocode", 0)), records.claim(job_id, Piece("vocode", 0))
    assert records.lost(job_id, one, Piece("restore", 0), 1) == [Piece("restore", 0)]
    records.complete(job_id, other, model="M")
    late = records.claim(job_id, Piece("vocode", 1))
    assert records.lost(job_id, late, Piece("restore", 0), 1) == [Piece("restore", 0)]


def test_attempts_of_a_finished_piece_are_counted_no_more(records, client):
    job_id, handed = begin(records, pieces=3)
    for piece in handed:
        finish(records, job_id, piece)
    [tries] = [key for key in client.keys("*") if key.endswith(":tries")]
    assert client.hkeys(tries) == ["split"]


def test_the_winner_of_an_unfinished_piece_is_an_error(records):
    job_id, handed = begin(records, pieces=3)
    with pytest.raises(KeyError, match="restore:0"):
        records.winners(job_id, handed[:1])


def test_progress_grows_with_every_piece(records):
    job_id, waiting = begin(records, pieces=3)
    seen = [records.get(job_id).progress]
    while waiting != [STITCH]:
        waiting += finish(records, job_id, waiting.pop(0))
        seen.append(records.get(job_id).progress)
    assert [p.percent for p in seen] == sorted({p.percent for p in seen})
    assert seen[0].done_seconds == 0
    assert (seen[-1].stage, seen[-1].done_seconds, seen[-1].total_seconds) == ("stitch", 90.0, 90.0)


def test_restore_alone_ends_after_its_restores(records):
    job_id, waiting = begin(records, pieces=2, stages="restore")
    assert finish(records, job_id, waiting[0]) == []
    assert finish(records, job_id, waiting[1]) == [STITCH]


def test_vocode_alone_finds_its_mel_under_the_split_s_attempt(records):
    job_id, waiting = begin(records, pieces=3, stages="vocode")
    assert [str(p) for p in waiting] == ["vocode:0", "vocode:1", "vocode:2"]
    assert records.winners(job_id, [Piece("restore", i) for i in range(3)]) == [1, 1, 1]


def test_success_names_the_winning_attempt_and_frees_the_rest(records, client):
    job_id, _handed = begin(records, pieces=1)
    finish(records, job_id, Piece("restore", 0))
    finish(records, job_id, Piece("vocode", 0))
    records.claim(job_id, STITCH)
    late = records.claim(job_id, STITCH)
    assert records.succeed(job_id, late, OUTPUT)
    assert not records.succeed(job_id, Claim(STITCH, 1), OUTPUT)
    job = records.get(job_id)
    assert (job.status, job.output, job.result_key) == (Status.SUCCEEDED, OUTPUT, f"jobs/{job_id}/result.2")
    assert [m.model_type for m in job.models] == ["Model", "Model"]
    assert job.progress.percent == 100
    assert not [key for key in client.keys("*") if key.endswith((":won", ":tries"))]


def test_a_failed_job_tells_why_and_takes_no_more_work(records):
    job_id, handed = begin(records, pieces=3)
    claim = records.claim(job_id, handed[0])
    error = JobError(code="audio_unreadable", message="no", stage="restore")
    assert records.fail(job_id, error)
    assert not records.fail(job_id, error)
    assert records.complete(job_id, claim, model="M") is None
    assert records.claim(job_id, handed[1]) is Refusal.GONE
    assert records.get(job_id).error == error


def test_a_late_attempt_cannot_fail_a_job_whose_piece_is_done(records):
    job_id, handed = begin(records, pieces=3)
    finish(records, job_id, handed[0])
    error = JobError(code="model_output_invalid", message="no", stage="restore")
    assert not records.fail(job_id, error, piece=handed[0])
    assert records.get(job_id).status is Status.PROCESSING
    assert records.fail(job_id, error, piece=handed[1])


def test_a_queued_job_is_canceled_at_once(records):
    job = manifest()
    records.create(job)
    assert records.cancel(job.id) is Status.CANCELED
    assert records.claim(job.id, SPLIT) is Refusal.GONE
    assert records.cancel(job.id) is Status.CANCELED


def test_a_running_job_is_canceled_by_the_first_worker_that_sees_it(records):
    job_id, handed = begin(records, pieces=3)
    claim = records.claim(job_id, handed[0])
    assert records.cancel(job_id) is Status.CANCELING
    assert records.complete(job_id, claim, model="M") is None
    assert not records.fail(job_id, JobError(code="x", message="y"))
    assert records.claim(job_id, handed[1]) is Refusal.CANCELING
    assert records.end_cancel(job_id)
    assert not records.end_cancel(job_id)
    assert records.get(job_id).status is Status.CANCELED


def test_only_a_job_that_is_over_is_removed_and_leaves_nothing(records, client):
    job_id, _ = begin(records, pieces=3)
    assert not records.remove(job_id)
    records.cancel(job_id)
    records.end_cancel(job_id)
    assert records.remove(job_id)
    assert records.get(job_id) is None
    assert client.keys("*") == []


def test_a_withdrawn_job_leaves_nothing(records, client):
    job = manifest()
    records.create(job)
    assert records.withdraw(job.id)
    assert client.keys("*") == []


def test_pages_go_on_where_the_last_one_ended(records):
    moment = round(time.time(), 3)
    # Three of one instant: only their ids tell them apart.
    jobs = [manifest().model_copy(update={"created_at": moment + i // 3}) for i in range(8)]
    for job in jobs:
        records.create(job)
    expected = [j.id for j in sorted(jobs, key=lambda j: (j.created_at, j.id), reverse=True)]
    found, before = [], None
    while page := records.page(status=None, created_after=None, before=before, limit=3):
        found += [job.manifest.id for job in page]
        before = (page[-1].manifest.created_at, page[-1].manifest.id)
    assert found == expected
    after = records.page(status=Status.QUEUED, created_after=moment, before=None, limit=100)
    assert [j.manifest.id for j in after] == expected[:5]
    assert records.page(status=Status.FAILED, created_after=None, before=None, limit=3) == []


def test_a_job_at_rest_costs_about_a_kilobyte(records, client):
    job_id, handed = begin(records, pieces=40, metadata={"archive": "tape 17", "shelf": 4})
    waiting = list(handed)
    while waiting != [STITCH]:
        waiting += finish(records, job_id, waiting.pop(0))
    records.succeed(job_id, records.claim(job_id, STITCH), OUTPUT)
    assert sum(client.memory_usage(key) for key in client.keys("t:job:*")) < 1600


def test_redis_that_is_away_is_one_clear_error_without_its_url():
    records = JobRecords(redis.Redis.from_url("redis://:secret@127.0.0.1:1/0"), prefix="t:")
    with pytest.raises(QueueUnavailable, match="VFQ_REDIS_URL") as caught:
        records.get("a" * 32)
    assert "secret" not in str(caught.value)


@pytest.fixture
def long_job(records):
    """A job of six windows, the first three restored; gives its id and the claim of vocode:0."""
    job = manifest()
    records.create(job)
    split = records.claim(job.id, SPLIT)
    records.complete_split(job.id, split, pieces=6, reach=1, window=3, seconds=180.0, plan="the plan")
    for index in range(3):
        records.complete(job.id, records.claim(job.id, Piece("restore", index)), model="m")
    return job.id, records.claim(job.id, Piece("vocode", 0))


def test_a_claim_tells_the_plan_and_which_mels_count(records, long_job):
    job_id, first = long_job
    assert (first.plan, first.mels, first.priority) == ("the plan", {0: 1, 1: 1}, "interactive")
    assert records.claim(job_id, Piece("vocode", 1)).mels == {0: 1, 1: 1, 2: 1}
    assert records.claim(job_id, Piece("vocode", 5)).mels == {}
    assert records.claim(job_id, Piece("restore", 3)).mels == {}


def test_lost_work_is_made_again_under_another_number_and_who_missed_it_goes_on_after(records, long_job):
    job_id, first = long_job
    lost = Piece("restore", 1)
    assert records.lost(job_id, first, lost, 1) == [lost]
    assert records.get(job_id).progress.done_seconds == 0
    assert records.claim(job_id, Piece("vocode", 0)).mels == {0: 1}
    again = records.claim(job_id, lost)
    assert again.attempt == 2
    assert Piece("vocode", 0) in records.complete(job_id, again, model="m")
    assert records.claim(job_id, Piece("vocode", 0)).mels == {0: 1, 1: 2}


def test_work_that_two_miss_is_made_once_and_both_go_on(records, long_job):
    job_id, first = long_job
    second, lost = records.claim(job_id, Piece("vocode", 1)), Piece("restore", 1)
    assert records.lost(job_id, first, lost, 1) == [lost]
    assert records.lost(job_id, second, lost, 1) == []
    assert records.lost(job_id, first, lost, 1) == [lost], "asked again: the answer may not have arrived"
    handed = records.complete(job_id, records.claim(job_id, lost), model="m")
    assert {Piece("vocode", 0), Piece("vocode", 1)} <= set(handed)
    assert records.lost(job_id, first, lost, 1) == [first.piece], "it has been made again meanwhile"


def test_what_a_lost_piece_had_not_sent_is_not_forgotten(records, long_job):
    job_id, first = long_job
    lost = Piece("restore", 2)
    _, unsent = records.unsent(job_id, lost)
    assert unsent
    records.lost(job_id, first, lost, 1)
    assert set(unsent) <= set(records.complete(job_id, records.claim(job_id, lost), model="m"))


def test_work_that_is_lost_again_and_again_is_not_made_for_ever(records, long_job):
    job_id, first = long_job
    lost = Piece("restore", 1)
    for attempt in range(1, 4):
        assert records.lost(job_id, first, lost, attempt) == [lost]
        records.complete(job_id, records.claim(job_id, lost), model="m")
    with pytest.raises(LostAgain):
        records.lost(job_id, first, lost, 4)


def test_nothing_is_made_again_for_a_job_that_is_to_stop(records, long_job):
    job_id, first = long_job
    records.cancel(job_id)
    assert records.lost(job_id, first, Piece("restore", 1), 1) is None
