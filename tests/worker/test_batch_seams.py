"""Where batches meet the other rooms: uploads, addresses, webhooks, a lost Redis, answers that are lost."""

import json
import time

import pytest

from shared.batches.keys import item_job_id
from shared.errors import QueueUnavailable
from shared.jobs import Status
from shared.outgoing import Outgoing, Policy
from shared.records import Uploads
from shared.records.uploads import Upload
from tests.worker.test_batches import Service, item


@pytest.fixture
def service(bench, clean_redis):
    return Service(bench, clean_redis, batch_window=10)


def test_a_batch_whose_record_was_made_though_its_answer_was_lost_is_no_ghost(service, monkeypatch):
    service.record("incoming/a.wav")
    from shared.batches.records import BatchRecords

    real = BatchRecords.create

    def lost(self, *args, **kwargs):
        real(self, *args, **kwargs)
        raise QueueUnavailable("answer lost")

    monkeypatch.setattr(BatchRecords, "create", lost)
    body = json.dumps(item("a"))
    answer = service.client.post("/v1/batches", data=body, headers={"Content-Type": "application/jsonl"})
    monkeypatch.undo()
    assert answer.status_code == 503
    for _ in range(10):
        service.look()
        service.worker.run()
    shown = service.client.get("/v1/batches").json["batches"]
    assert [one["status"] for one in shown] in ([], ["completed"]), (shown, list(service.store.list("batches/")))


def test_jobs_of_a_canceled_batch_are_canceled_after_redis_was_lost(service):
    service.record("incoming/a.wav")
    batch_id = service.submit(*(item(str(n)) for n in range(3)))
    service.look()
    service.client.post(f"/v1/batches/{batch_id}/cancel")
    service.lose_redis()
    service.recover()
    for _ in range(5):
        service.look()
    states = [service.worker.records.state(item_job_id(batch_id, n)) for n in range(3)]
    assert service.batch(batch_id)["status"] == "canceled"
    assert states == [Status.CANCELED] * 3, (states, service.manifest(batch_id, "errors"))


def test_a_batch_that_waits_does_not_copy_its_uploads_again_and_again(bench, clean_redis, monkeypatch):
    service = Service(bench, clean_redis, batch_window=10, max_open_bulk=2)
    service.store.put("uploads/x/data", b"RIFF")
    seal = service.store.head("uploads/x/data").etag
    uploads, now = Uploads(service.worker.client, prefix="w:"), time.time()
    upload = Upload(id="a" * 32, owner="local", filename="a.wav", size=4, created=now, expires=now + 9999)
    uploads.create(upload, most=10)
    uploads.complete(upload, key="uploads/x/data", etag=seal, seal=seal)
    batch_id = service.submit(*({"custom_id": str(n), "input": {"upload": upload.id}} for n in range(10)))
    copies, puts = [], []
    copy, put = type(service.store).copy, type(service.store).put
    monkeypatch.setattr(type(service.store), "copy", lambda s, a, b: copies.append(b) or copy(s, a, b))
    monkeypatch.setattr(type(service.store), "put", lambda s, k, *a, **kw: puts.append(k) or put(s, k, *a, **kw))
    for _ in range(10):  # five seconds
        service.look()
    assert service.counts(batch_id)["queued"] == 10
    assert len(copies) <= 12, (len(copies), len(puts))


def test_a_name_that_does_not_resolve_for_a_moment_fails_no_item(service):
    broken = [True]

    def resolver(host, port):
        if broken[0]:
            raise OSError("temporary failure in name resolution")
        return ["93.184.215.14"]

    service.leader = service.new_leader(outgoing=Outgoing(Policy(resolve=resolver)))
    batch_id = service.submit({"custom_id": "a", "input": {"url": "http://tapes.example/a.wav"}})
    service.look()
    broken[0] = False
    service.look()
    assert service.batch(batch_id)["request_counts"]["failed"] == 0, service.batch(batch_id)


def test_a_prefix_that_changed_while_redis_was_lost_restores_nothing_twice(service):
    service.record("incoming/t/b.wav", "incoming/t/c.wav")
    batch_id = service.client.post("/v1/batches", json={"prefix": "incoming/t/"}).json["id"]
    service.look()
    service.look()
    service.worker.run()
    service.record("incoming/t/a.wav")  # comes in later: it is none of the batch's
    service.lose_redis()
    service.recover()
    service.run(batch_id)
    lines = [one["custom_id"] for one in service.both(batch_id)]
    assert sorted(lines) == ["incoming/t/b.wav", "incoming/t/c.wav"], lines


def test_items_can_be_listed_whatever_address_one_names(service):
    batch_id = service.submit({"custom_id": "a", "input": {"url": "http://[bad/x"}}, item("b"))
    answer = service.client.get(f"/v1/batches/{batch_id}/items")
    assert answer.status_code == 200, answer.text


def test_a_slow_addition_takes_nothing_away_from_a_quick_one(service, monkeypatch):
    from api.batches import submit

    service.record("incoming/a.wav")
    batch_id = service.client.post("/v1/batches", json={"open": True}).json["id"]
    real, calls = submit._write, []

    def write(to, key, intake, placed):
        calls.append(key)
        if len(calls) == 1:  # its body takes long
            quick = service.client.post(f"/v1/batches/{batch_id}/items", json={"items": [item("quick")]})
            assert quick.status_code == 202
        real(to, key, intake, placed)

    monkeypatch.setattr(submit, "_write", write)
    slow = service.client.post(f"/v1/batches/{batch_id}/items", json={"items": [item("slow")]})
    assert slow.status_code == 202
    service.client.post(f"/v1/batches/{batch_id}/close")
    for _ in range(10):
        service.look()
        service.worker.run()
    assert service.batch(batch_id)["status"] == "completed", service.batch(batch_id)
    assert sorted(line["custom_id"] for line in service.both(batch_id)) == ["quick", "slow"]


def test_a_stored_list_has_the_limit_that_is_documented(service, monkeypatch):
    from api.batches import submit

    monkeypatch.setattr(submit, "MOST_BYTES", 1000)
    service.store.put("incoming/list.jsonl", b"\n" * 5000 + json.dumps(item("a")).encode())
    answer = service.client.post("/v1/batches", json={"input": {"key": "incoming/list.jsonl"}})
    assert answer.status_code == 413, answer.status_code


def test_a_webhook_of_a_job_of_a_batch_and_of_the_batch_are_told_after_redis_was_lost(service):
    service.record("incoming/a.wav")
    hook = {"webhook": "http://93.184.215.14/job?secret=sesame"}
    items = [item("a", **hook), item("b")]
    body = {"items": items, "webhook": "http://93.184.215.14/batch?secret=sesame"}
    batch_id = service.client.post("/v1/batches", json=body).json["id"]
    service.look()
    service.lose_redis()
    service.recover()
    service.run(batch_id)
    told = service.client.get(f"/v1/batches/{batch_id}/deliveries")
    assert [one["type"] for one in told.json["deliveries"]] == ["batch.completed"]
    assert "sesame" not in told.text
    told = service.client.get(f"/v1/jobs/{item_job_id(batch_id, 0)}/deliveries").json["deliveries"]
    assert [one["type"] for one in told] == ["job.succeeded"]
    assert "sesame" not in str(service.both(batch_id))


def test_a_retry_of_an_item_that_named_an_upload_or_an_address(service):
    service.store.put("uploads/x/data", b"RIFF")
    seal = service.store.head("uploads/x/data").etag
    uploads, now = Uploads(service.worker.client, prefix="w:"), time.time()
    upload = Upload(id="a" * 32, owner="local", filename="a.wav", size=4, created=now, expires=now + 9999)
    uploads.create(upload, most=10)
    uploads.complete(upload, key="uploads/x/data", etag=seal, seal=seal)
    inputs = [{"upload": upload.id}, {"url": "http://93.184.215.14/tapes/a.wav?token=sesame"}]
    batch_id = service.submit(*({"custom_id": str(n), "input": one} for n, one in enumerate(inputs)))
    service.look()
    uploads.remove(upload)
    service.store.delete_prefix("uploads/")
    for n in range(2):
        job_id = item_job_id(batch_id, n)
        service.client.post(f"/v1/jobs/{job_id}/cancel")
        answer = service.client.post(f"/v1/jobs/{job_id}/retry", headers={"Idempotency-Key": str(n)})
        assert answer.status_code == 202
        assert "sesame" not in answer.text
        assert answer.json["batch_id"] is None
        assert answer.json["options"]["priority"] == "bulk"
