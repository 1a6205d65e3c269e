"""Redis, the API and the queue's messages fail; callers change their mind."""

import os
import shutil
import subprocess
import sys
import time

import httpx
import pytest

from tests.faults.test_workers import ends_once

#: How long an outage lasts: docs/reliability.md has the figures for 30 s.
OUTAGE_SECONDS = float(os.environ.get("FAULT_SECONDS", "5"))


def jobs_in_storage(service):
    return {info.key.split("/")[1] for info in service.store.list("jobs/")}


def submit_to_an_api_that_dies(service, recording):
    """Gives the job that it left behind, if it left one."""
    before = jobs_in_storage(service)
    with pytest.raises(httpx.TransportError):
        service.submit(recording)
    service.wait_ready()
    left = jobs_in_storage(service) - before
    return left.pop() if left else None


def test_an_api_killed_during_an_upload_leaves_nothing(service, recording, expected):
    service.arm("api.upload", "kill")
    assert submit_to_an_api_that_dies(service, recording) is None
    ends_once(service, service.submit(recording), expected)


@pytest.mark.parametrize("point", ["api.manifest", "api.record"])
def test_a_job_whose_api_was_killed_before_it_sent_the_message_ends(service, recording, expected, point):
    """Between manifest and record nobody was told that it is accepted; it might have been, so it is done."""
    service.arm(point, "kill")
    job = submit_to_an_api_that_dies(service, recording)
    service.until(lambda: service.records.state(job) is not None)
    ends_once(service, job, expected)


def test_who_got_no_answer_sends_again_under_its_key_and_has_one_job(service, recording, expected):
    def send() -> httpx.Response:
        form = {"files": {"file": ("a.wav", recording)}, "headers": {"Idempotency-Key": "once"}}
        return service.client.post("/v1/jobs", **form)

    before = jobs_in_storage(service)
    service.arm("api.record", "kill")
    with pytest.raises(httpx.TransportError):
        send()
    service.wait_ready()
    answer = send()
    assert (answer.status_code, answer.headers["Idempotent-Replayed"]) == (202, "true")
    assert jobs_in_storage(service) - before == {answer.json()["id"]}
    ends_once(service, answer.json()["id"], expected)


def test_a_redis_killed_and_restarted_with_its_file(service, recording, expected):
    jobs = [service.submit(recording) for _ in range(4)]
    for _ in range(2):
        service.until(lambda: service.raw.zcard("vfq:leases") or not service.raw.zcard("vfq:deadlines"))
        service.redis.kill()
        time.sleep(1)
        service.redis.start()
    for job in jobs:
        ends_once(service, job, expected)


@pytest.mark.parametrize("how", ["down", "freeze"])
def test_a_redis_that_cannot_be_reached_for_a_while(service, recording, expected, how):
    """Leases lapse meanwhile, but whoever works on keeps what it has: nobody takes it for dead."""
    before = service.raw.hgetall("vfq:stats")
    with service.paced(0.5):
        jobs = [service.submit(recording) for _ in range(3)]
        service.until(lambda: service.raw.zcard("vfq:leases") >= 2)
        getattr(service.redis_proxy, how)()
        time.sleep(OUTAGE_SECONDS)
        service.redis_proxy.up()
        for job in jobs:
            ends_once(service, job, expected)
    after = service.raw.hgetall("vfq:stats")
    # One may: a claim whose answer went with the connection is held by nobody.
    assert int(after.get("expired", 0)) <= int(before.get("expired", 0)) + 1


def test_a_full_redis_takes_no_jobs_and_loses_none(service, recording, expected):
    with service.paced(0.3):
        jobs = [service.submit(recording) for _ in range(3)]
        service.until(lambda: service.raw.zcard("vfq:leases") >= 2)
        try:
            service.raw.config_set("maxmemory", _least_memory(service) - 1000)
            time.sleep(2)
            answer = service.client.post("/v1/jobs", files={"file": ("a.wav", recording)})
            assert (answer.status_code, answer.json().get("code")) == (503, "queue_full")
            assert int(answer.headers["Retry-After"]) > 0
            time.sleep(2)
        finally:
            service.raw.config_set("maxmemory", 0)
        for job in jobs:
            ends_once(service, job, expected)


def _least_memory(service) -> int:
    """What Redis uses without what passes through it: buffers of clients come and go."""
    readings = []
    for _ in range(10):
        readings.append(service.raw.info("memory")["used_memory"])
        time.sleep(0.05)
    return min(readings)


@pytest.mark.parametrize("how", ["twice", "tenth"])
def test_messages_that_come_twice_or_not_at_all(service, recording, expected, how):
    windows = 5
    service.arm("send", how)
    try:
        before = service.executions()
        jobs = [service.submit(recording) for _ in range(6)]
        for job in jobs:
            ends_once(service, job, expected)
        assert service.executions() - before == len(jobs) * windows * 2
    finally:
        (service.points / "send").unlink()


def canceled(service, job):
    assert service.wait(job)[0]["status"] == "canceled"
    time.sleep(1)
    assert service.job(job)["status"] == "canceled"
    assert service.events(job)[-1] == "canceled"
    assert service.client.get(f"/v1/jobs/{job}/result").json()["code"] == "job_canceled"
    service.settle()
    kept = {info.key.rpartition("/")[2] for info in service.store.list(f"jobs/{job}/")}
    assert kept == {"source", "manifest.json", "end.json"}


def cancel(service, job):
    answer = service.client.post(f"/v1/jobs/{job}/cancel")
    assert answer.status_code == 202, answer.text


def test_a_job_cancelled_before_it_was_begun(service, recording):
    with service.resting("audio"):
        job = service.submit(recording)
        cancel(service, job)
        assert service.job(job)["status"] == "canceled"
    service.wait_ready()
    canceled(service, job)


@pytest.mark.parametrize("kind", ["split", "restore", "vocode", "stitch"])
def test_a_job_cancelled_while_a_step_of_it_stands_still(service, recording, kind):
    """Also if its worker wakes up when all is over."""
    service.arm(f"{kind}.written", "stop")
    job = service.submit(recording)
    service.until(lambda: service.stopped() is not None)
    frozen = service.stopped()
    cancel(service, job)
    service.until(lambda: service.job(job)["status"] == "canceled")
    frozen.resume()
    canceled(service, job)


def test_a_job_cancelled_while_it_is_computed_stops_within_a_chunk(service, recording):
    with service.paced(1):
        before = service.executions()
        job = service.submit(recording)
        service.until(lambda: service.executions() - before >= 2)
        cancel(service, job)
        done = service.executions()
        canceled(service, job)
        assert service.executions() - done <= 4, "what the four threads had in hand, and no more"


def test_a_running_job_is_deleted_in_two_steps(service, recording):
    with service.paced(1):
        before = service.executions()
        job = service.submit(recording)
        service.until(lambda: service.executions() > before)
        at_once = {"Prefer": "respond-async"}
        assert service.client.delete(f"/v1/jobs/{job}", headers=at_once).status_code == 202
        service.wait(job)
        assert service.client.delete(f"/v1/jobs/{job}").status_code == 204
    assert service.client.get(f"/v1/jobs/{job}").status_code == 404
    service.settle()
    assert job not in jobs_in_storage(service)


def test_a_deadline_ends_a_job_that_waits_and_one_that_runs(service, recording):
    with service.resting("audio"):
        waiting = service.submit(recording, deadline_seconds="1")
        assert service.wait(waiting)[0]["status"] == "expired"
    service.wait_ready()
    with service.paced(4):
        running = service.submit(recording, deadline_seconds="6")
        assert service.wait(running)[0]["status"] == "expired"
        assert service.events(running) == ["queued", "processing", "expired"]
        answer = service.client.get(f"/v1/jobs/{running}/result")
        assert (answer.status_code, answer.json()["code"]) == (409, "job_expired")
    service.settle()


def test_a_redis_that_is_lost_whole_is_rebuilt_from_storage(service, recording, expected):
    with service.paced(0.5):
        finished = service.submit(recording)
        failed = service.submit(b"no audio at all")
        service.wait(finished, failed)
        service.settle()
        before = [service.job(job) for job in (finished, failed)]
        running = [service.submit(recording) for _ in range(2)]
        service.until(lambda: service.raw.zcard("vfq:leases") >= 2)
        service.redis.kill()
        shutil.rmtree(service.redis.folder)
        service.redis.start()
        assert service.client.get(f"/v1/jobs/{finished}").status_code == 404
        environment = {**os.environ, **service._settings}
        told = subprocess.run(
            [sys.executable, "-m", "cli.main", "recover"], env=environment, capture_output=True, text=True, check=True
        ).stdout
        assert "2 unfinished jobs begin again" in told
        for job in running:
            ends_once(service, job, expected)
    assert service.result(finished) == expected
    after = [service.job(job) for job in (finished, failed)]
    for one, other in zip(before, after, strict=True):
        changed = {name for name in one if one[name] != other[name]}
        assert changed <= {"progress"}, changed
