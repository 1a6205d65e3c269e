"""Jobs come back from storage when Redis is lost with all that it held."""

import io

import pytest

from api.app import create_app
from shared.errors import QueueUnavailable
from shared.jobs import Manifest, Status
from shared.keys import ending_key, manifest_key
from shared.queues import STAGES, lanes_of
from shared.recovery import Found, Recovery, jobs_in
from shared.settings import Settings
from tests.worker.test_steps import noise, wav


class Service:
    """An API, and a worker that does what it is sent."""

    def __init__(self, worker, settings):
        self.worker = worker
        app = create_app(settings, records=worker.records, store=worker.store, dispatcher=worker)
        self.client = app.test_client()

    def submit(self, data, **fields):
        answer = self.client.post("/v1/jobs", data={"file": (io.BytesIO(data), "a.wav"), **fields})
        assert answer.status_code == 202, answer.text
        return answer.json["id"]

    def job(self, job_id):
        return self.client.get(f"/v1/jobs/{job_id}").json

    def result(self, job_id):
        answer = self.client.get(f"/v1/jobs/{job_id}/result")
        assert answer.status_code == 200, answer.text
        return answer.data

    def lose_redis(self):
        self.worker.client.flushall()
        self.worker.waiting.clear()
        assert self.client.get("/v1/jobs").json["jobs"] == []

    def recover(self):
        return dict(Recovery(self.worker.store, self.worker.records, self.worker.retention, self.worker).all())


@pytest.fixture
def service(bench, clean_redis):
    return Service(bench(), Settings(redis_url=clean_redis))


def test_finished_jobs_come_back_with_their_results(service):
    data = wav(noise(60_000))
    chain, mel = service.submit(data, metadata='{"shelf": 4}', priority="bulk"), service.submit(data, stages="restore")
    service.worker.run()
    jobs, results = [service.job(one) for one in (chain, mel)], [service.result(one) for one in (chain, mel)]
    service.lose_redis()
    assert service.recover() == {chain: Found.REBUILT, mel: Found.REBUILT}
    assert [service.job(one) for one in (chain, mel)] == jobs
    assert [service.result(one) for one in (chain, mel)] == results
    assert not service.worker.waiting, "nothing is done again"
    assert service.recover() == {chain: Found.KNOWN, mel: Found.KNOWN}


def test_failed_and_canceled_jobs_come_back_as_they_were(service):
    failed, canceled = service.submit(b"no recording"), service.submit(wav(noise(60_000)))
    service.client.post(f"/v1/jobs/{canceled}/cancel")
    service.worker.run()
    service.worker.sweep()
    jobs = [service.job(one) for one in (failed, canceled)]
    service.lose_redis()
    assert service.recover() == {failed: Found.REBUILT, canceled: Found.REBUILT}
    again = [service.job(one) for one in (failed, canceled)]
    told = ("status", "error", "created_at", "started_at", "completed_at", "options", "input", "metadata")
    assert [[one[name] for name in told] for one in again] == [[one[name] for name in told] for one in jobs]
    assert service.client.delete(f"/v1/jobs/{failed}").status_code == 204
    assert service.worker.objects(failed) == []


@pytest.mark.parametrize("steps", [0, 1, 3, 6])
def test_unfinished_jobs_begin_again_and_end_with_the_same_result(service, steps):
    data = wav(noise(200_000, 2))
    whole, broken = service.submit(data), service.submit(data, mode="0", deadline_seconds="5000")
    for _ in range(steps):
        service.worker.step(at=service.worker.at(broken))
    service.lose_redis()
    assert service.recover() == {whole: Found.BEGUN, broken: Found.BEGUN}
    assert service.job(broken)["options"]["deadline_seconds"] == 5000
    service.worker.run()
    assert service.result(broken) == service.result(whole)
    service.worker.sweep()
    assert service.worker.objects(broken) == ["end.json", "manifest.json", "receipt.1.json", "result.1", "source"]


def test_what_was_never_accepted_does_not_become_a_job(service):
    store = service.worker.store
    store.put("jobs/upload/source", b"half a story")
    store.put("jobs/garbled/manifest.json", b'{"id": "garb')
    job = service.submit(wav(noise(60_000)))
    store.put("jobs/copy/manifest.json", store.read(manifest_key(job)))
    found = service.recover()
    assert found == {"copy": Found.NO_JOB, "garbled": Found.NO_JOB, "upload": Found.NO_JOB, job: Found.KNOWN}
    assert service.worker.records.get("copy") is None


def test_a_job_whose_end_cannot_be_read_begins_again(service):
    job = service.submit(wav(noise(60_000)))
    service.worker.run()
    result = service.result(job)
    service.worker.store.put(ending_key(job), b'{"status": "succ')
    service.lose_redis()
    assert service.recover() == {job: Found.BEGUN}
    service.worker.run()
    assert service.result(job) == result


def test_a_job_whose_message_cannot_be_sent_is_back_and_its_message_is_missed(service, monkeypatch):
    job = service.submit(wav(noise(60_000)))
    service.lose_redis()

    def away(messages):
        raise QueueUnavailable("away")

    with monkeypatch.context() as broken:
        broken.setattr(service.worker, "send", away)
        assert service.recover() == {job: Found.BEGUN}
    missed = service.worker.repairs.suspects(dict.fromkeys(lanes_of(STAGES), True))
    assert [one.job_id for one in missed] == [job]
    service.worker.run()
    assert service.worker.records.get(job).status is Status.SUCCEEDED


def test_a_job_whose_deadline_passed_meanwhile_expires(service):
    job = service.submit(wav(noise(60_000)))
    manifest = Manifest.model_validate_json(service.worker.store.read(manifest_key(job)))
    old = manifest.model_copy(update={"created_at": manifest.created_at - 8 * 86_400})
    service.worker.store.put(manifest_key(job), old.model_dump_json().encode())
    service.lose_redis()
    service.recover()
    assert service.worker.repairs.expire() == [job]
    assert service.job(job)["status"] == "expired"


def test_jobs_are_found_by_their_folders(service):
    for key in ("jobs/a/source", "jobs/a/work/pcm.1", "jobs/a-b/source", "jobs/b/source", "incoming/c/source"):
        service.worker.store.put(key, b"x")
    assert sorted(jobs_in(service.worker.store)) == ["a", "a-b", "b"]


def test_of_two_requests_of_one_name_both_come_back_for_either_may_have_been_accepted(service):
    """One died between its manifest and its record, and was sent again."""
    first = service.client.put("/v1/jobs/tape", data={"file": (io.BytesIO(wav(noise(60_000))), "a.wav")}).json["id"]
    service.lose_redis()
    again = service.client.put("/v1/jobs/tape", data={"file": (io.BytesIO(wav(noise(60_000))), "a.wav")}).json["id"]
    assert again != first
    assert service.recover() == {first: Found.BEGUN, again: Found.KNOWN}
    assert service.client.get("/v1/jobs/tape").json["id"] == again
    service.lose_redis()
    assert service.recover() == {first: Found.BEGUN, again: Found.BEGUN}
    service.worker.run()
    assert [service.job(one)["status"] for one in (first, again)] == ["succeeded", "succeeded"]
