"""What has outlived its time goes, and what deaths left behind; nothing that is in use."""

import uuid

import pytest

from shared.errors import StorageError, StorageUnavailable
from shared.jobs import Status
from shared.keys import job_prefix, manifest_key, source_key
from tests.worker.test_steps import noise, wav
from worker.upkeep.leading import LeadLost


@pytest.fixture
def worker(bench):
    return bench(keep_results_days=7, keep_records_days=30)


@pytest.fixture
def done(worker):
    job = worker.submit(wav(noise(50_000)))
    worker.run()
    assert worker.records.get(job).status is Status.SUCCEEDED
    return job


def orphans(worker, *, seconds=0.0):
    """Sweep as if so many seconds had passed, twice: what has no record is touched the second time."""
    sweeper = worker.sweeper()
    for _ in range(2):
        sweeper.sweep_orphans(worker.records.now() + seconds)


def age(worker, index, job, *, days):
    worker.client.zadd(f"w:{index}", {job: worker.records.now() - days * 86_400})


def test_results_go_after_their_time_and_records_after_theirs(worker, done):
    age(worker, "stored", done, days=6.9)
    worker.sweep()
    assert worker.objects(done)
    age(worker, "stored", done, days=7.1)
    worker.sweep()
    assert worker.objects(done) == []
    assert worker.records.get(done).status is Status.SUCCEEDED
    age(worker, "ended", done, days=30.1)
    worker.sweep()
    assert worker.records.get(done) is None


def test_an_upload_without_a_job_is_deleted_when_it_is_old(worker):
    job = uuid.uuid4().hex
    worker.store.put(source_key(job), b"half a story")
    orphans(worker, seconds=3000)
    assert worker.objects(job) == ["source"]
    orphans(worker, seconds=4000)
    assert worker.objects(job) == []


def test_a_manifest_without_a_record_becomes_a_job_again(worker):
    job = worker.submit(wav(noise(50_000)))
    manifest = worker.records.manifest(job)
    worker.store.put(manifest_key(job), manifest.model_dump_json().encode())
    worker.client.flushall()
    worker.waiting.clear()
    orphans(worker, seconds=4000)
    worker.run()
    assert worker.records.get(job).status is Status.SUCCEEDED
    assert worker.result(job)


def test_what_was_removed_stays_so(worker, done):
    manifest = worker.records.manifest(done)
    assert worker.records.remove(done)
    worker.store.put(manifest_key(done), manifest.model_dump_json().encode())
    orphans(worker, seconds=4000)
    assert worker.objects(done) == []
    assert worker.records.get(done) is None


def test_what_is_in_use_is_left_alone_however_old(worker):
    job = worker.submit(wav(noise(300_000)))
    for _ in range(4):
        worker.step()
    before = worker.objects(job)
    assert any(name.startswith("work/") for name in before)
    orphans(worker, seconds=1_000_000)
    assert worker.objects(job) == before
    worker.run()
    assert worker.result(job)


def test_working_objects_that_came_after_the_end_go(worker, done):
    worker.store.put(f"jobs/{done}/work/restore/0.9", b"late")
    orphans(worker, seconds=4000)
    assert not any("work" in name for name in worker.objects(done))
    assert worker.result(done)


def test_no_folder_is_left_out_where_storage_holds_more_than_one_batch(worker, monkeypatch):
    monkeypatch.setattr("worker.upkeep.sweeper._BATCH", 2)
    for _ in range(7):
        worker.store.put(source_key(uuid.uuid4().hex), b"half a story")
    orphans(worker, seconds=4000)
    assert list(worker.store.list()) == []


def look(worker):
    worker.sweeper().look()


def test_what_is_kept_for_ever_stays(bench):
    worker = bench(keep_results_days=0, keep_records_days=0)
    job = worker.submit(wav(noise(50_000)))
    worker.run()
    for index in ("stored", "ended"):
        age(worker, index, job, days=10_000)
    worker.sweep()
    assert worker.result(job)


def test_what_a_late_worker_wrote_to_a_job_that_is_over_goes_when_none_can_write_any_more(worker):
    job = worker.submit(wav(noise(50_000)))
    worker.records.cancel(job)
    look(worker)
    assert worker.objects(job) == ["end.json", "source"]
    worker.store.put(f"jobs/{job}/work/pcm.1", b"late")
    worker.store.put(f"jobs/{job}/result.1", b"late")
    look(worker)
    assert len(worker.objects(job)) == 4, "not yet"
    worker.sweep()
    assert worker.objects(job) == ["end.json", "source"]


def test_what_a_late_worker_wrote_to_a_removed_job_goes_when_none_can_write_any_more(worker, done):
    worker.store.delete_prefix(f"jobs/{done}")
    worker.records.remove(done)
    worker.store.put(f"jobs/{done}/work/pcm.1", b"late")
    look(worker)
    assert worker.objects(done) == ["work/pcm.1"]
    worker.sweep()
    assert worker.objects(done) == []
    assert not worker.retention.is_gone(done)


def test_all_of_storage_is_looked_through_once_in_a_while(worker, monkeypatch):
    listed = []
    monkeypatch.setattr(worker.store, "list", lambda prefix, **_: listed.append(prefix) or [])
    for _ in range(5):
        look(worker)
    assert listed == ["jobs/", "batches/", "uploads/"]
    worker.client.delete("w:turn:orphans")
    look(worker)
    assert listed == 2 * ["jobs/", "batches/", "uploads/"]


def test_storage_that_is_away_leaves_all_for_the_next_look(worker, done, monkeypatch):
    age(worker, "stored", done, days=31)

    def away(prefix):
        raise StorageUnavailable("away")

    with monkeypatch.context() as broken:
        broken.setattr(worker.store, "delete_prefix", away)
        look(worker)
    assert worker.records.get(done) is not None, "its objects are not forgotten"
    look(worker)
    assert worker.objects(done) == []
    assert worker.records.get(done) is None


def test_a_sweeper_that_is_to_end_deletes_no_more(worker):
    sweeper = worker.sweeper()
    worker.store.put(source_key(uuid.uuid4().hex), b"half a story")
    sweeper.sweep_orphans(worker.records.now() + 4000)
    sweeper.stop()
    with pytest.raises(LeadLost):
        sweeper.sweep_orphans(worker.records.now() + 4000)
    assert len(list(worker.store.list())) == 1


def test_what_has_no_record_yet_is_not_touched_at_first_sight(worker):
    """An upload of hours may look old the moment it is whole."""
    job = uuid.uuid4().hex
    worker.store.put(source_key(job), b"a long story")
    sweeper = worker.sweeper()
    sweeper.sweep_orphans(worker.records.now() + 4000)
    assert worker.objects(job) == ["source"]
    sweeper.sweep_orphans(worker.records.now() + 4000)
    assert worker.objects(job) == []


def test_a_result_that_came_after_the_end_goes(worker, done):
    worker.store.put(f"jobs/{done}/result.9", b"late")
    orphans(worker, seconds=4000)
    assert "result.9" not in worker.objects(done)
    assert worker.result(done)


def removed(worker):
    job_id = worker.submit(wav(noise(50_000)))
    worker.run()
    worker.store.delete_prefix(job_prefix(job_id))
    assert worker.records.remove(job_id)
    worker.client.zadd("w:gone", {job_id: 0})
    return job_id


@pytest.mark.parametrize("error", [StorageError, StorageUnavailable])
def test_one_job_whose_objects_cannot_be_deleted_holds_up_no_other(bench, monkeypatch, error):
    worker = bench(keep_results_days=7, keep_records_days=30)
    bad, good = removed(worker), removed(worker)
    worker.client.zadd("w:gone", {bad: 0, good: 1})
    old = worker.submit(wav(noise(50_000)))
    worker.run()
    worker.client.zadd("w:stored", {old: worker.records.now() - 8 * 86_400})
    delete = worker.store.delete_prefix

    def refuses(prefix):
        if bad in prefix:
            raise error("access denied by a retention rule")
        delete(prefix)

    monkeypatch.setattr(worker.store, "delete_prefix", refuses)
    sweeper = worker.sweeper()
    for _ in range(3):
        sweeper.look()
    assert worker.objects(old) == [], "eight days old, kept for seven"


def test_one_record_that_cannot_be_read_holds_up_no_other(bench):
    """As of a half-written document, or one of a newer version after a roll-back."""
    worker = bench(keep_results_days=7)
    bad, old = (worker.submit(wav(noise(50_000))) for _ in range(2))
    worker.run()
    key = f"w:job:{{{bad}}}:doc"
    worker.client.set(key, '\0\0\x02{}{"output":{"codec":1}}')
    worker.client.zadd("w:tidy", {bad: 0})
    worker.client.zadd("w:stored", {old: worker.records.now() - 8 * 86_400})
    sweeper = worker.sweeper()
    for _ in range(3):
        sweeper.look()
    assert worker.objects(old) == [], "eight days old, kept for seven"
