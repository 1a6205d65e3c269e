"""Mels from hand to hand in one process, and what happens when one is not there."""

from collections import Counter

import numpy as np
import pytest

from shared.errors import QueueUnavailable
from shared.jobs import Status
from shared.keys import chunk_key
from tests.worker.test_steps import decoded, noise, wav
from worker.handover import Handover


def mel(value=1.0, frames=4):
    return np.full((1, frames, 128), value, np.float32)


@pytest.fixture
def handed(bench):
    """Make a bench whose worker keeps mels in memory; *suffices* leaves them there alone."""

    def make(*, suffices, limit=2**24, **settings):
        worker = bench(**settings)
        worker.ctx.mels = Handover(limit, suffices=lambda: suffices)
        return worker

    return make


def until(worker, kind):
    while worker.next().kind != kind:
        worker.step()


def mels_in_storage(worker, job):
    return [name for name in worker.objects(job) if name.startswith("work/restore/")]


def reads_of_mels(worker, monkeypatch):
    keys, read = [], worker.store.read

    def noted(key, *args):
        keys.append(key)
        return read(key, *args)

    monkeypatch.setattr(worker.store, "read", noted)
    return lambda: [key for key in keys if "/restore/" in key]


def test_a_mel_is_found_by_its_key_alone():
    mels = Handover(2**20)
    mels.keep("jobs/1/restore/0.1", mel(1))
    assert (mels.get("jobs/1/restore/0.1") == 1).all()
    assert mels.get("jobs/1/restore/0.2") is None, "another attempt"


def test_the_oldest_mels_make_room_within_the_bound():
    one = mel().nbytes
    mels = Handover(10 * one)
    for number in range(25):
        mels.keep(str(number), mel(number))
        mels.keep(str(number), mel(number))
    assert [number for number in range(25) if mels.get(str(number)) is not None] == list(range(15, 25))


def test_a_kept_mel_holds_no_longer_one_alive():
    mels = Handover(2**20)
    mels.keep("a", mel(frames=1000)[:, :4])
    assert mels.get("a").base is None


def hold(mels, key, job="1", readers=(0,)):
    return mels.hold(key, mel(), job_id=job, readers=readers)


def test_mels_too_large_for_the_bound_are_not_kept_and_must_be_written():
    mels = Handover(7 * mel().nbytes, suffices=lambda: True)
    assert not hold(mels, "a")
    mels.keep("a", mel())
    assert mels.get("a") is None


def test_an_only_copy_makes_room_when_its_last_reader_is_done_and_not_before():
    mels = Handover(8 * mel().nbytes, suffices=lambda: True)
    mels.keep("spare", mel())
    assert all(hold(mels, str(number), readers=[number, number + 1]) for number in range(8))
    assert mels.get("spare") is None
    mels.done(["0", "1"], 1)
    mels.keep("another", mel())
    assert not hold(mels, "late")
    assert all(mels.get(str(number)) is not None for number in range(8))
    assert mels.get("another") is None
    assert mels.get("late") is None
    mels.done(["0", "gone"], 0)
    assert hold(mels, "late")
    assert mels.get("0") is None
    assert all(mels.get(key) is not None for key in ("1", "7", "late"))


def test_jobs_that_ended_before_their_mels_were_read_make_room_when_it_is_needed():
    ended = {"2"}
    mels = Handover(8 * mel().nbytes, suffices=lambda: True, over=lambda job: job in ended)
    assert all(hold(mels, str(number), job=str(number % 3)) for number in range(8))
    assert hold(mels, "new")
    assert [number for number in range(8) if mels.get(str(number)) is None] == [2, 5]
    ended.clear()
    assert hold(mels, "newer")
    assert not hold(mels, "newest")


@pytest.mark.parametrize("suffices", [False, True])
def test_results_are_the_same_however_mels_go(bench, handed, suffices):
    data = wav(noise(300_123, 2))
    plain, near = bench(), handed(suffices=suffices)
    jobs = [(worker, worker.submit(data)) for worker in (plain, near)]
    for worker, _ in jobs:
        worker.run()
    first, second = (worker.result(job) for worker, job in jobs)
    assert first == second


def test_a_mel_at_hand_is_not_read_from_storage_though_it_lies_there(handed, monkeypatch):
    worker = handed(suffices=False)
    job = worker.submit(wav(noise(200_000)))
    read = reads_of_mels(worker, monkeypatch)
    until(worker, "vocode")
    assert mels_in_storage(worker, job)
    worker.run()
    assert read() == []
    assert worker.records.get(job).status is Status.SUCCEEDED


def test_where_memory_suffices_no_mel_is_written(handed):
    worker = handed(suffices=True)
    job = worker.submit(wav(noise(200_000)))
    until(worker, "vocode")
    assert mels_in_storage(worker, job) == []
    worker.run()
    assert len(decoded(worker.result(job))[0]) == 200_000


def test_of_many_jobs_whose_mels_do_not_fit_into_memory_nothing_is_made_twice(handed, bench):
    """Here four windows of each of six jobs are restored before the first is vocoded: 24 mels, and room for 12."""
    data = [wav(noise(300_000, seed=seed)) for seed in range(6)]
    worker = handed(suffices=True, limit=12 * mel(frames=128).nbytes)
    jobs = [worker.submit(one) for one in data]
    until(worker, "vocode")
    written = sum(len(mels_in_storage(worker, job)) for job in jobs)
    assert 0 < written < 24, "some are in memory alone, and for the others there was no room"
    worker.run()
    assert set(Counter(worker.sent).values()) == {len(jobs)}
    plain = bench()
    for job, one in zip(jobs, data, strict=True):
        other = plain.submit(one)
        plain.run()
        assert worker.result(job) == plain.result(other)


def test_mels_that_are_the_result_are_written(handed):
    worker = handed(suffices=True)
    job = worker.submit(wav(noise(200_000)), stages="restore")
    worker.run()
    assert worker.records.get(job).status is Status.SUCCEEDED
    assert not any(piece.kind == "restore" for piece in worker.sent[-1:])
    assert len(worker.sent) == len(set(map(str, worker.sent))), "nothing was made twice"


@pytest.mark.parametrize("limit", [0, 2**24])
def test_a_mel_that_went_with_its_process_is_restored_again_and_then_written(handed, limit):
    """The process dies after its restores; another, which holds none of their mels, goes on."""
    worker = handed(suffices=True)
    data = wav(noise(300_000))
    job, whole = worker.submit(data), worker.submit(data)
    while not any(message.piece.kind == "vocode" for message in worker.waiting):
        worker.step(at=worker.at(job))
    worker.ctx.mels = Handover(limit, suffices=lambda: True)
    worker.run()
    assert worker.result(job) == worker.result(whole)
    again = [str(piece) for piece in worker.sent if piece.kind == "restore"]
    assert len(again) > len(set(again)), "some were restored twice"


def test_what_two_windows_miss_is_made_once(handed):
    worker = handed(suffices=True, in_flight=8)
    job = worker.submit(wav(noise(400_000)))
    while sum(message.piece.kind == "vocode" for message in worker.waiting) < 2:
        worker.step()
    worker.sent.clear()
    worker.ctx.mels = None
    worker.run()
    assert worker.records.get(job).status is Status.SUCCEEDED
    restored = [piece for piece in worker.sent if piece.kind == "restore"]
    assert len(restored) == len(set(restored))


@pytest.mark.parametrize(
    ("lost", "found_by"),
    [("work/pcm.1", "restore"), ("work/restore/1.1", "vocode"), ("work/vocode/0.1", "stitch")],
)
@pytest.mark.parametrize("cut", [False, True])
def test_a_working_object_that_a_power_cut_took_is_made_again(bench, lost, found_by, cut):
    worker = bench()
    data = wav(noise(200_000))
    job, other = worker.submit(data), worker.submit(data)
    until(worker, found_by)
    while not any(name == lost for name in worker.objects(job)):
        worker.step()
    key = f"jobs/{job}/{lost}"
    if cut:
        worker.store.put(key, worker.store.read(key)[:-1000])
    else:
        worker.store.delete(key)
    worker.run()
    assert worker.result(job) == worker.result(other)
    done = worker.records.get(job)
    kept = {key.rpartition("/")[2] for key in (done.result_key, done.receipt_key)}
    assert set(worker.objects(job)) == {"end.json", "source", *kept}


@pytest.mark.parametrize(
    ("lost", "found_by"),
    [("work/pcm.1", "restore"), ("work/restore/1.1", "vocode"), ("work/vocode/0.1", "stitch")],
)
def test_a_worker_that_could_not_send_what_is_to_be_made_again_sends_it_later(bench, monkeypatch, lost, found_by):
    worker = bench()
    job = worker.submit(wav(noise(200_000)))
    until(worker, found_by)
    while not any(name == lost for name in worker.objects(job)):
        worker.step()
    worker.store.delete(f"jobs/{job}/{lost}")
    record = worker.records.lost

    def recorded_and_then_away(*args):
        record(*args)
        raise QueueUnavailable("Redis is away")

    monkeypatch.setattr(worker.records, "lost", recorded_and_then_away)
    with pytest.raises(QueueUnavailable):
        worker.run()
    monkeypatch.setattr(worker.records, "lost", record)
    worker.run()
    assert worker.records.get(job).status is Status.SUCCEEDED


def test_a_sent_mel_whose_pieces_are_gone_is_cut_again(bench):
    worker = bench()
    made = worker.submit(wav(noise(200_000)), stages="restore")
    worker.run()
    job = worker.submit(worker.result(made), filename="a.npy", stages="vocode")
    until(worker, "vocode")
    worker.store.delete(chunk_key(job, "restore", 1, 1))
    worker.run()
    assert worker.records.get(job).status is Status.SUCCEEDED


def test_a_job_split_again_keeps_its_windows_whatever_the_settings_say_now(bench):
    worker = bench()
    data = wav(noise(300_000))
    job, other = worker.submit(data), worker.submit(data)
    while not any(message.piece.kind == "vocode" for message in worker.waiting):
        worker.step(at=worker.at(job))
    worker.store.delete(f"jobs/{job}/work/pcm.1")
    worker.ctx.settings = worker.ctx.settings.model_copy(update={"core_frames": 256})
    while any(message.job_id == job for message in worker.waiting):
        worker.step(at=worker.at(job))
    worker.run()
    assert decoded(worker.result(job))[0].tolist() == decoded(worker.result(other))[0].tolist()


def test_storage_that_keeps_nothing_fails_the_job_and_says_what_to_look_at(bench, monkeypatch):
    worker = bench()
    job = worker.submit(wav(noise(100_000)))
    until(worker, "vocode")
    writer = worker.store.writer

    def forgetful(key, **kwargs):
        return writer(key.replace("/restore/", "/elsewhere/"), **kwargs)

    monkeypatch.setattr(worker.store, "writer", forgetful)
    for name in [name for name in worker.objects(job) if "/restore/" in name]:
        worker.store.delete(f"jobs/{job}/{name}")
    worker.run()
    error = worker.records.get(job).error
    assert (error.code, error.stage) == ("storage_error", "vocode")
    assert "VFQ_STORAGE_URL" in error.message
