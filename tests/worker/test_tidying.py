"""What is kept of a job that is over, and that how it ended is written beside it."""

import pytest

from shared.jobs import Ending, Status
from shared.keys import ending_key
from tests.worker.test_steps import noise, wav
from worker.upkeep.tidying import tidy, tidy_objects


def ended(worker, job):
    return Ending.model_validate_json(worker.store.read(ending_key(job)))


@pytest.fixture
def worker(bench):
    return bench()


def test_a_job_that_succeeded_has_its_result_and_its_models_beside_it(worker):
    job = worker.submit(wav(noise(50_000)))
    worker.run()
    written, read = ended(worker, job), worker.records.get(job)
    assert written == worker.records.ending(job)
    assert (written.status, written.result, written.output) == (Status.SUCCEEDED, 1, read.output)
    assert set(written.models) == {"restore", "vocode"}
    assert written.seconds == pytest.approx(50_000 / 44_100, abs=1e-5)


def test_a_job_that_failed_has_its_reason_beside_it(worker):
    job = worker.submit(b"no recording at all")
    worker.run()
    assert ended(worker, job).status is Status.FAILED
    assert ended(worker, job).error == worker.records.get(job).error


def test_a_job_that_was_canceled_before_it_was_begun_is_told_of_too(worker):
    job = worker.submit(wav(noise(50_000)))
    worker.records.cancel(job)
    worker.sweep()
    assert ended(worker, job) == worker.records.ending(job)
    assert worker.objects(job) == ["end.json", "source"]


@pytest.mark.parametrize("until", ["restore", "vocode", "stitch"])
def test_a_job_that_is_not_over_is_left_as_it_is(worker, until):
    job = worker.submit(wav(noise(200_000)))
    while worker.next().kind != until:
        worker.step()
    before = worker.objects(job)
    tidy_objects(worker.ctx, job)
    assert worker.objects(job) == before


def test_of_several_results_the_one_that_counts_is_kept(worker):
    job = worker.submit(wav(noise(50_000)))
    worker.run()
    for number in (2, 10, 11):
        worker.store.put(f"jobs/{job}/result.{number}", b"late")
    worker.store.put(f"jobs/{job}/work/vocode/0.2", b"late")
    tidy_objects(worker.ctx, job)
    assert worker.objects(job) == ["end.json", "receipt.1.json", "result.1", "source"]


def test_a_removed_job_gets_no_objects_anew(worker):
    job = worker.submit(wav(noise(50_000)))
    worker.run()
    worker.store.delete_prefix(f"jobs/{job}")
    worker.records.remove(job)
    tidy(worker.ctx, job)
    assert worker.objects(job) == []
