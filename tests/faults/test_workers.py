"""Workers that die, stand still or run out of something: every job ends once, with the same bytes; so does a batch."""

import json
import os
import signal
import time

import numpy as np
import pytest

from tests.worker.test_steps import wav

KINDS = ("split", "restore", "vocode", "stitch")


def ends_once(service, job, expected):
    """Succeeded, with the right bytes, and told so once."""
    [ended] = service.wait(job)
    assert ended["status"] == "succeeded", ended["error"]
    assert service.result(job) == expected
    assert service.events(job) == ["queued", "processing", "succeeded"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moment", ["begin", "written", "recorded"])
def test_a_worker_killed_in_a_step(service, recording, expected, kind, moment):
    """Before its work, after its objects are written, and after it is recorded and nothing was sent yet."""
    service.arm(f"{kind}.{moment}", "kill")
    job = service.submit(recording)
    ends_once(service, job, expected)
    assert service.sprung(f"{kind}.{moment}")


def test_all_workers_killed_at_once(service, recording, expected):
    jobs = [service.submit(recording) for _ in range(4)]
    service.until(lambda: service.raw.zcard("vfq:leases") >= 2)
    for name in (*service.names("audio"), *service.names("models")):
        service.kill(name)
    for job in jobs:
        ends_once(service, job, expected)


@pytest.mark.parametrize("kind", ["restore", "stitch"])
def test_a_worker_frozen_past_its_lease_changes_nothing_when_it_wakes(service, recording, expected, kind):
    """Its piece is done by another; what it wrote under its old number does not count, and goes."""
    service.arm(f"{kind}.written", "stop")
    with_spare = kind == "stitch"
    job = service.submit(recording)
    service.until(lambda: service.stopped() is not None)
    frozen = service.stopped()
    if with_spare:  # there is one audio worker: its supervisor would start another one elsewhere
        name = next(name for name, process in service.processes.items() if process.pid == frozen.pid)
        old = service.processes[name]
        service._launch(name)
    ends_once(service, job, expected)
    os.kill(frozen.pid, signal.SIGCONT)
    time.sleep(1.5)  # it wakes, and tries to report
    ends_once(service, job, expected)
    assert [info.key for info in service.store.list(f"jobs/{job}/result.")] == [
        f"jobs/{job}/result.{service.records.ending(job).result}"
    ]
    if with_spare:
        old.terminate()
        old.wait(20)


def test_a_worker_out_of_memory_makes_smaller_pieces(service, recording, expected):
    """A network takes 4 MiB a frame here: a window needs 1.6 GiB of address space, of which 1.4 are left."""
    names = service.names("models")
    with service.otherwise(*names, FAULT_MEMORY=str(1400 * 2**20)):
        job = service.submit(recording)
        ends_once(service, job, expected)
    log = "".join((service.folder / f"{name}.log").read_text() for name in names)
    assert "smaller parts" in log


def test_a_full_disk_of_a_worker_is_waited_out(service, recording, expected):
    service.arm("stitch.begin", "disk")
    job = service.submit(recording)
    ends_once(service, job, expected)
    assert service.sprung("stitch.begin")


def test_an_unforeseen_error_is_tried_again(service, recording, expected):
    service.arm("restore.begin", "bug")
    job = service.submit(recording)
    ends_once(service, job, expected)
    assert service.sprung("restore.begin")


@pytest.mark.parametrize("kind", ["split", "vocode"])
def test_a_recording_that_kills_its_worker_fails_alone(service, recording, expected, kind):
    others = [service.submit(recording) for _ in range(2)]
    poison = service.submit(recording, filename=f"poison-{kind}.wav")
    others += [service.submit(recording) for _ in range(2)]
    [ended] = service.wait(poison, seconds=90)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "chunk_failed")
    assert (ended["error"]["stage"], ended["error"]["attempts"]) == (kind, 3)
    assert "died" in ended["error"]["cause"]
    for job in others:
        ends_once(service, job, expected)


def test_a_clock_ten_minutes_off_changes_nothing(service, recording, expected):
    name = service.names("models")[0]
    before = service.raw.hgetall("vfq:stats")
    for minutes in (10, -10):
        with service.otherwise(name, FAULT_CLOCK=str(60 * minutes)):
            jobs = [service.submit(recording) for _ in range(4)]
            for job in jobs:
                ends_once(service, job, expected)
    after = service.raw.hgetall("vfq:stats")
    assert after.get("expired", "0") == before.get("expired", "0")


def test_sigterm_under_load_is_not_noticed(service, recording, expected):
    """A rolling restart of every process that works; each finishes what it has, or hands it back."""
    jobs = [service.submit(recording) for _ in range(8)]
    for name in (*service.names("models"), *service.names("audio")):
        process = service.processes[name]
        process.terminate()
        assert process.wait(30) == 0
        jobs.append(service.submit(recording))
        service.wait_ready()
    for job in jobs:
        ends_once(service, job, expected)


def test_what_is_not_done_in_time_is_handed_back(service, recording, expected):
    """Its worker ends all the same, and nobody waits for a lease to lapse."""
    names = service.names("models")
    with service.otherwise(*names, VFQ_DRAIN_SECONDS="0.5", VFQ_LEASE_SECONDS="600"), service.paced(4):
        job = service.submit(recording)
        service.until(lambda: service.raw.zcard("vfq:leases") >= 2)
        old = [service.processes[name] for name in names]
        for process in old:
            process.terminate()
        assert [process.wait(10) for process in old] == [0, 0]
    ends_once(service, job, expected)  # in less than a minute; a lease would have held for ten


@pytest.fixture(scope="module")
def short(service):
    """Half a second in storage, and the sha256 of what becomes of it."""
    data = wav(np.random.default_rng(7).uniform(-0.5, 0.5, 22_050).astype(np.float32)[:, None])
    service.store.put("incoming/short.wav", data)
    service.store.put("incoming/text.wav", b"no recording")
    job = service.submit(data)
    service.wait(job)
    return data, service.result(job)


def submit_batch(service, keys):
    lines = [json.dumps({"custom_id": f"item-{n}", "input": {"key": key}}) for n, key in enumerate(keys)]
    answer = service.client.post("/v1/batches", content="\n".join(lines), headers={"Content-Type": "application/jsonl"})
    assert answer.status_code == 202, answer.text
    return answer.json()["urls"]


def batch_of(service, urls):
    return service.client.get(urls["self"]).json()


def manifest_of(service, urls, which):
    answer = service.client.get(urls[which])
    assert answer.status_code == 200, answer.text
    return [json.loads(one) for one in answer.text.splitlines()]


def test_a_batch_whose_leader_is_killed_in_the_middle_and_at_the_end(service, short):
    data, expected = short
    good = ["incoming/short.wav"] * 20
    bad = ["incoming/missing.wav", "incoming/text.wav", "secret/key"]
    service.arm("batch.record", "kill")
    service.arm("batch.manifests", "kill")
    urls = submit_batch(service, good[:10] + bad + good[10:])
    service.until(lambda: service.sprung("batch.record"))
    service.until(lambda: batch_of(service, urls)["request_counts"]["succeeded"] >= 3, seconds=60)
    interactive = service.submit(data)
    [job] = service.wait(interactive)
    assert job["metrics"]["queue_seconds"] < 2
    service.until(lambda: batch_of(service, urls)["completed_at"] is not None, seconds=90)
    assert service.sprung("batch.manifests")
    found = batch_of(service, urls)
    assert found["status"] == "completed"
    assert (found["request_counts"]["succeeded"], found["request_counts"]["failed"]) == (20, 3)
    output, errors = manifest_of(service, urls, "output"), manifest_of(service, urls, "errors")
    assert len({one["job_id"] for one in output}) == len(output) == 20
    for one in output:
        assert service.result(one["job_id"]) == expected
        assert service.events(one["job_id"]) == ["queued", "processing", "succeeded"]
    codes = {one["custom_id"]: one["error"]["code"] for one in errors}
    assert codes == {"item-10": "input_missing", "item-11": "audio_unreadable", "item-12": "input_not_allowed"}


def test_a_batch_that_is_canceled_in_the_middle(service, short):
    with service.paced(0.3):
        urls = submit_batch(service, ["incoming/short.wav"] * 30)
        service.until(lambda: batch_of(service, urls)["request_counts"]["succeeded"] >= 2)
        assert service.client.post(urls["cancel"]).status_code == 202
        service.until(lambda: batch_of(service, urls)["completed_at"] is not None)
    counts = batch_of(service, urls)["request_counts"]
    assert batch_of(service, urls)["status"] == "canceled"
    assert counts["succeeded"] >= 2
    assert counts["canceled"] > 0
    assert counts["succeeded"] + counts["canceled"] == counts["total"] == 30
    assert len(manifest_of(service, urls, "output")) == counts["succeeded"]
    assert len(manifest_of(service, urls, "errors")) == counts["canceled"]
    assert service.raw.zcard("vfq:open:bulk") == 0
