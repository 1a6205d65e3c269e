"""A batch from its list to its manifests, with leaders that die, limits that are met, and records that are lost."""

import json
import time

import pytest

from api.app import create_app
from shared.batches.keys import batch_prefix, item_job_id, items_key, outcomes_prefix
from shared.batches.model import BatchStatus
from shared.batches.recovery import BatchRecovery
from shared.errors import QueueUnavailable, StorageDenied, StorageUnavailable
from shared.jobs import Status
from shared.records import Uploads
from shared.recovery import Recovery
from shared.settings import Settings
from tests.worker.test_steps import noise, wav
from worker.batches import BatchLeader
from worker.batches.context import Desk
from worker.upkeep.leading import LeadLost
from worker.upkeep.sweeper import Sweeper

RECORDING = wav(noise(20_000))


class Service:
    """An API, a worker that does what it is sent, and leaders of batches that look when they are told to."""

    def __init__(self, make_bench, redis_url, **settings):
        self.made = Settings(redis_url=redis_url, key_prefix="w:", **settings)
        self.worker = make_bench(**settings)
        app = create_app(self.made, records=self.worker.records, store=self.worker.store, dispatcher=self.worker)
        self.client = app.test_client()
        self.batches, self.store = self.worker.batches, self.worker.store
        self.room = True
        self.leader = self.new_leader()

    def new_leader(self, **instead):
        parts = {
            "settings": self.worker.ctx.settings,
            "store": self.store,
            "records": self.worker.records,
            "batches": self.batches,
            "dispatcher": self.worker,
            "outgoing": self.worker.ctx.outgoing,
            "uploads": Uploads(self.worker.client, prefix="w:"),
            "crowded": lambda: not self.room,
            "still": lambda: None,
        }
        leader = BatchLeader(Desk(**{**parts, **instead}), self.worker.repairs)
        leader._waiting = _Soon()  # what is over is written down at once
        return leader

    def replace(self):
        """Let the leader die, and another take over."""
        for key in self.worker.client.scan_iter("w:lead:*"):
            self.worker.client.delete(key)
        self.leader = self.new_leader()

    def look(self):
        self.leader.lead.take()
        self.leader.look()

    def record(self, *keys):
        for key in keys:
            self.store.put(key, RECORDING)

    def submit(self, *items, **query):
        body = "\n".join(json.dumps(one) for one in items)
        query = {name: json.dumps(value) for name, value in query.items()}
        headers = {"Content-Type": "application/jsonl"}
        answer = self.client.post("/v1/batches", data=body, headers=headers, query_string=query)
        assert answer.status_code == 202, answer.text
        return answer.json["id"]

    def batch(self, batch_id):
        return self.client.get(f"/v1/batches/{batch_id}").json

    def counts(self, batch_id):
        return {name: count for name, count in self.batch(batch_id)["request_counts"].items() if count}

    def run(self, batch_id):
        for _ in range(100):
            self.look()
            self.worker.run()
            if self.batch(batch_id)["completed_at"]:
                return self.batch(batch_id)
        raise AssertionError(self.batch(batch_id))

    def manifest(self, batch_id, which):
        answer = self.client.get(f"/v1/batches/{batch_id}/{which}")
        assert answer.status_code == 200, answer.text
        return [json.loads(one) for one in answer.data.splitlines()]

    def both(self, batch_id):
        return self.manifest(batch_id, "output") + self.manifest(batch_id, "errors")

    def lose_redis(self):
        self.worker.client.flushall()
        self.worker.waiting.clear()
        self.replace()

    def recover(self):
        list(Recovery(self.store, self.worker.records, self.worker.retention, self.worker).all())
        return list(BatchRecovery(self.store, self.batches).all())


class _Soon(dict):
    def setdefault(self, *_):
        return 0.0


@pytest.fixture
def service(bench, clean_redis):
    return Service(bench, clean_redis, batch_window=3)


def item(name, key="incoming/a.wav", **more):
    return {"custom_id": name, "input": {"key": key}, **more}


def names(lines):
    return sorted(one["custom_id"] for one in lines)


def test_a_batch_becomes_jobs_and_ends_with_two_manifests(service):
    service.record("incoming/a.wav", "incoming/b.wav")
    service.store.put("incoming/none.wav", b"")
    service.store.put("incoming/text.wav", b"no recording")
    batch_id = service.submit(
        item("a", output={"format": "flac"}),
        item("b", "incoming/b.wav", metadata={"n": 2}),
        item("missing", "incoming/missing.wav"),
        item("unknown", modus=1),
        item("empty", "incoming/none.wav"),
        item("foreign", "jobs/x/source"),
        item("text", "incoming/text.wav"),
        item("late", "incoming/a.wav", deadline_seconds=0.000001),
        options={"output": {"format": "aiff", "bit_depth": 24}},
    )
    for _ in range(5):
        service.look()
        service.worker.repairs.expire()
        service.worker.run()
    batch = service.batch(batch_id)
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {
        "total": 8, "queued": 0, "processing": 0, "succeeded": 2, "failed": 6, "canceled": 0,
    }  # fmt: skip
    assert batch["started_at"] < batch["completed_at"]
    output, errors = service.manifest(batch_id, "output"), service.manifest(batch_id, "errors")
    assert names(output) == ["a", "b"]
    for one in output:
        job = service.client.get(f"/v1/jobs/{one['job_id']}").json
        assert (job["batch_id"], job["custom_id"]) == (batch_id, one["custom_id"])
        assert one["result"]["bytes"] == job["output"]["bytes"] == len(service.client.get(one["result"]["url"]).data)
        assert service.store.head(one["result"]["key"]).size == one["result"]["bytes"]
        assert job["options"]["priority"] == "bulk"
        assert job["options"]["output"]["bit_depth"] == 24
    formats = {one["custom_id"]: one["result"]["filename"].rpartition(".")[2] for one in output}
    assert formats == {"a": "flac", "b": "aiff"}
    codes = {one["custom_id"]: one["error"]["code"] for one in errors}
    assert codes == {
        "missing": "input_missing", "unknown": "invalid_request", "empty": "file_empty",
        "foreign": "input_not_allowed", "text": "audio_unreadable", "late": "job_expired",
    }  # fmt: skip
    assert list(service.store.list(outcomes_prefix(batch_id))) == []
    assert not [key for key in service.worker.client.scan_iter(f"w:batch:{{{batch_id}}}:*") if key.endswith("jobs")]


@pytest.mark.parametrize("how", ["done", "canceled", "failed"])
def test_the_end_of_a_batch_is_told_once(service, how):
    service.record("incoming/a.wav", "incoming/x/a.wav")
    asked = {"webhook": "http://93.184.215.14/batches", "metadata": {"x": 1}}
    asked |= {"prefix": "incoming/x/"} if how == "failed" else {"items": [item("a"), item("b", x=1)]}
    batch_id = service.client.post("/v1/batches", json=asked).json["id"]
    if how == "failed":
        service.store.delete("incoming/x/a.wav")
    if how == "canceled":
        service.client.post(f"/v1/batches/{batch_id}/cancel")
    batch = service.run(batch_id)
    service.replace()
    service.look()
    [told] = service.client.get(f"/v1/batches/{batch_id}/deliveries").json["deliveries"]
    assert (told["type"], told["url"]) == ("batch.completed", asked["webhook"])
    status = service.worker.client.hget(f"w:delivery:{told['id']}", "status")
    assert status == batch["status"] == {"done": "completed"}.get(how, how)


def test_only_a_few_jobs_of_a_batch_are_open_at_once(service):
    service.record("incoming/a.wav")
    batch_id = service.submit(*(item(str(n)) for n in range(10)))
    seen = []
    for _ in range(200):
        service.look()
        seen.append(service.worker.records.open_jobs("bulk"))
        if not service.worker.waiting:
            break
        service.worker.step()
    service.run(batch_id)
    assert max(seen) == 3
    assert service.counts(batch_id) == {"total": 10, "succeeded": 10}


def test_several_batches_take_turns(service):
    service.record("incoming/a.wav")
    first, second = (service.submit(*(item(str(n)) for n in range(9))) for _ in range(2))
    for _ in range(2):
        service.look()
        service.worker.run()
    assert service.counts(first)["succeeded"] == service.counts(second)["succeeded"] == 6


def test_what_is_canceled_keeps_what_is_done(service):
    service.record("incoming/a.wav")
    batch_id = service.submit(*(item(str(n)) for n in range(8)))
    service.look()
    service.worker.run()
    service.look()
    assert service.counts(batch_id) == {"total": 8, "succeeded": 3, "queued": 5}
    service.worker.step()  # one is being worked on
    service.client.post(f"/v1/batches/{batch_id}/cancel")
    batch = service.run(batch_id)
    assert batch["status"] == "canceled"
    assert service.counts(batch_id) == {"total": 8, "succeeded": 3, "canceled": 5}
    assert names(service.manifest(batch_id, "output")) == ["0", "1", "2"]
    errors = {one["custom_id"]: one["error"]["code"] for one in service.manifest(batch_id, "errors")}
    assert errors == {**dict.fromkeys("345", "job_canceled"), **dict.fromkeys("67", "batch_canceled")}
    assert service.worker.records.open_jobs("bulk") == 0
    kept = service.manifest(batch_id, "output")[0]
    assert service.client.get(kept["result"]["url"]).status_code == 200


@pytest.mark.parametrize(
    ("point", "turn"),
    [(point, turn) for point in ("put", "create", "send", "advance", "collected") for turn in (1, 2)]
    + [("put", 4), ("create", 4), ("fault", 1), ("end", 1)],
)
def test_a_leader_that_dies_anywhere_is_replaced_and_nothing_is_done_twice(service, monkeypatch, point, turn):
    service.record("incoming/a.wav")
    batch_id = service.submit(*(item(str(n)) for n in range(7)), item("bad", "incoming/none.wav"))
    place = {
        "put": (service.store, "put"),
        "create": (service.worker.records, "create"),
        "send": (service.worker, "send"),
    }.get(point, (service.batches, point))
    calls, died = [0], []

    def deadly(method, after):
        def call(*args, **kwargs):
            if point == "put" and not args[0].startswith("batches/") and "manifest" not in args[0]:
                return method(*args, **kwargs)  # a worker's
            answer = method(*args, **kwargs) if after else None
            calls[0] += 1
            if calls[0] == turn:
                died.append(point)
                raise _Killed
            return answer if after else method(*args, **kwargs)

        return call

    for after in (False, True):
        calls[0] = 0
        with monkeypatch.context() as broken:
            broken.setattr(*place, deadly(getattr(*place), after))
            try:
                for _ in range(6):
                    service.look()
                    if point != "send":
                        service.worker.run()
            except (_Killed, IndexError):
                pass
        service.replace()
    batch = service.run(batch_id)
    assert died
    assert batch["status"] == "completed"
    assert service.counts(batch_id) == {"total": 8, "succeeded": 7, "failed": 1}
    lines = service.both(batch_id)
    assert names(lines) == sorted([*map(str, range(7)), "bad"])
    ends = [one for _, one in service.worker.client.xrange("w:events") if one["status"] == "succeeded"]
    assert len(ends) == len({one["id"] for one in ends}) == 7
    assert len({one["job_id"] for one in lines}) == 8


class _Killed(BaseException):
    pass


def test_a_frozen_leader_that_wakes_harms_nothing(service):
    service.record("incoming/a.wav")
    batch_id = service.submit(*(item(str(n)) for n in range(6)))
    old = service.leader
    service.look()
    stale = service.batches.get(batch_id)
    service.replace()
    service.worker.run()
    service.look()
    old._serve(stale)  # it goes on where it stood
    old._serve(stale)
    service.run(batch_id)
    assert service.counts(batch_id) == {"total": 6, "succeeded": 6}
    assert names(service.both(batch_id)) == list("012345")
    assert service.leader.lead.take()
    old.lead._renewed = 0.0
    with pytest.raises(LeadLost):
        old.lead.keep()


def test_limits_make_a_batch_wait_and_fail_nothing(bench, clean_redis):
    service = Service(bench, clean_redis, batch_window=50, max_open_bulk=4)
    service.record("incoming/a.wav")
    batch_id = service.submit(*(item(str(n)) for n in range(7)))
    service.room = False
    service.look()
    assert service.counts(batch_id) == {"total": 7, "queued": 7}
    assert not service.worker.waiting
    service.room = True
    service.look()
    assert service.worker.records.open_jobs("bulk") == 2, "half of what may be open"
    kept = {key.split("/")[1] for key in (info.key for info in service.store.list("jobs/"))}
    assert len(kept) == 2, "nothing of those that wait"
    service.run(batch_id)
    assert service.counts(batch_id) == {"total": 7, "succeeded": 7}


def test_an_owner_with_few_places_gets_them_by_and_by(service, monkeypatch):
    service.record("incoming/a.wav")
    batch_id = service.submit(*(item(str(n)) for n in range(3)))
    asked = service.batches.get(batch_id).manifest.model_copy(update={"max_open": 1})
    service.worker.client.hset(f"w:batch:{{{batch_id}}}", "doc", asked.model_dump_json())
    service.look()
    assert service.worker.records.open_jobs("bulk") == 1
    service.run(batch_id)
    assert service.counts(batch_id) == {"total": 3, "succeeded": 3}


@pytest.mark.parametrize("error", [StorageUnavailable("away"), QueueUnavailable("away")])
def test_what_is_away_fails_nothing(service, monkeypatch, error):
    service.record("incoming/a.wav")
    batch_id = service.submit(*(item(str(n)) for n in range(4)))

    def away(*_, **__):
        raise error

    for place in ((service.store, "put"), (service.store, "head"), (service.worker.records, "create")):
        with monkeypatch.context() as broken:
            broken.setattr(*place, away)
            try:
                service.look()
            except QueueUnavailable:
                assert isinstance(error, QueueUnavailable)
        service.worker.run()
    service.run(batch_id)
    assert service.counts(batch_id) == {"total": 4, "succeeded": 4}


def test_an_object_that_storage_does_not_give_fails_alone(service, monkeypatch):
    service.record("incoming/a.wav", "incoming/b.wav")
    head = service.store.head

    def denied(key):
        if key == "incoming/b.wav":
            raise StorageDenied("Storage refuses our keys.")
        return head(key)

    monkeypatch.setattr(service.store, "head", denied)
    batch_id = service.submit(item("a"), item("b", "incoming/b.wav"), item("c"))
    service.run(batch_id)
    assert names(service.manifest(batch_id, "output")) == ["a", "c"]
    [error] = service.manifest(batch_id, "errors")
    assert (error["custom_id"], error["error"]["code"]) == ("b", "storage_denied")


def test_a_prefix_is_a_batch_of_its_objects(service):
    service.record(*(f"incoming/tapes/{n}.wav" for n in range(5)), "incoming/other.wav")
    asked = {"prefix": "incoming/tapes/", "options": {"output": {"format": "flac"}}}
    batch_id = service.client.post("/v1/batches", json=asked).json["id"]
    batch = service.run(batch_id)
    assert batch["status"] == "completed"
    assert names(service.manifest(batch_id, "output")) == [f"incoming/tapes/{n}.wav" for n in range(5)]


@pytest.mark.parametrize(("left", "code"), [(0, "no_items"), (3, "too_many_items")])
def test_a_prefix_that_cannot_be_a_batch_fails_it(bench, clean_redis, left, code):
    service = Service(bench, clean_redis, max_batch_items=2)
    service.record(*(f"incoming/tapes/{n}.wav" for n in range(3)))
    batch_id = service.client.post("/v1/batches", json={"prefix": "incoming/tapes/"}).json["id"]
    if not left:
        service.store.delete_prefix("incoming/tapes")
    service.look()
    batch = service.batch(batch_id)
    assert (batch["status"], batch["error"]["code"]) == ("failed", code)
    assert service.both(batch_id) == []
    service.lose_redis()
    service.recover()
    assert {**service.batch(batch_id), "started_at": None} == batch


def test_items_of_an_open_batch_begin_at_once(service):
    service.record("incoming/a.wav")
    batch_id = service.client.post("/v1/batches", json={"open": True}).json["id"]
    for round_ in range(3):
        items = [item(f"{round_}-{n}") for n in range(2)]
        assert service.client.post(f"/v1/batches/{batch_id}/items", json={"items": items}).status_code == 202
        for _ in range(2):
            service.look()
            service.worker.run()
        assert service.counts(batch_id)["succeeded"] == 2 * (round_ + 1)
    assert service.batch(batch_id)["status"] == "open"
    service.client.post(f"/v1/batches/{batch_id}/close")
    assert service.run(batch_id)["status"] == "completed"
    assert len(service.manifest(batch_id, "output")) == 6


@pytest.mark.parametrize("rounds", [0, 1, 2])
@pytest.mark.parametrize("open_", [False, True])
def test_a_batch_comes_back_when_redis_is_lost(service, rounds, open_):
    service.record("incoming/a.wav")
    items = [*(item(str(n)) for n in range(6)), item("bad", "incoming/none.wav")]
    if open_:
        batch_id = service.client.post("/v1/batches", json={"open": True}).json["id"]
        for some in (items[:4], items[4:]):
            service.client.post(f"/v1/batches/{batch_id}/items", json={"items": some})
    else:
        batch_id = service.submit(*items)
    for _ in range(rounds):
        service.look()
        service.worker.run()
    if rounds < 2:
        service.look()
        service.worker.step()
    service.lose_redis()
    assert service.recover() == [batch_id]
    assert service.recover() == []
    if open_:
        assert service.batch(batch_id)["status"] == "open"
        again = service.client.post(f"/v1/batches/{batch_id}/items", json={"items": items[:1]})
        assert again.status_code == 409, "its names are known again"
        service.client.post(f"/v1/batches/{batch_id}/close")
    service.run(batch_id)
    assert service.counts(batch_id) == {"total": 7, "succeeded": 6, "failed": 1}
    assert names(service.both(batch_id)) == sorted([*map(str, range(6)), "bad"])


def test_a_batch_that_is_over_comes_back_as_it_was(service):
    service.record("incoming/a.wav")
    batch_id = service.submit(item("a"), item("bad", x=1))
    batch = service.run(batch_id)
    lines = service.both(batch_id)
    service.lose_redis()
    service.recover()
    assert service.batch(batch_id) == batch
    assert service.both(batch_id) == lines
    assert [one["id"] for one in service.client.get("/v1/batches").json["batches"]] == [batch_id]
    service.look()
    assert not service.worker.waiting


def test_a_batch_that_was_to_stop_stops_when_redis_is_lost(service):
    service.record("incoming/a.wav")
    batch_id = service.submit(*(item(str(n)) for n in range(5)))
    service.look()
    service.client.post(f"/v1/batches/{batch_id}/cancel")
    service.lose_redis()
    service.recover()
    assert service.batch(batch_id)["status"] == "canceling"
    assert service.run(batch_id)["status"] == "canceled"
    assert len(service.both(batch_id)) == 5
    assert service.worker.records.open_jobs("bulk") == 0


def test_a_job_that_is_deleted_meanwhile_keeps_its_line(service):
    service.record("incoming/a.wav")
    batch_id = service.submit(*(item(str(n)) for n in range(5)))
    service.look()
    service.worker.run()
    job_id = item_job_id(batch_id, 1)
    assert service.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    service.run(batch_id)
    assert service.counts(batch_id) == {"total": 5, "succeeded": 5}
    lines = {one["custom_id"]: one for one in service.manifest(batch_id, "output")}
    assert names(lines.values()) == list("01234")
    assert (lines["1"]["job_id"], lines["1"]["result"]) == (job_id, None)
    states = [one["status"] for one in service.client.get(f"/v1/batches/{batch_id}/items").json["items"]]
    assert states == ["succeeded", None, "succeeded", "succeeded", "succeeded"]
    assert service.worker.records.get(job_id) is None, "it is not made again"


def test_records_that_were_forgotten_are_in_the_manifests(service):
    service.record("incoming/a.wav")
    batch_id = service.submit(*(item(str(n)) for n in range(6)))
    service.look()
    service.worker.run()
    service.look()  # three are written down
    for number in range(3):
        service.worker.records.remove(item_job_id(batch_id, number))
    service.lose_redis()
    service.store.delete_prefix("jobs")
    service.recover()
    service.run(batch_id)
    assert service.counts(batch_id) == {"total": 6, "succeeded": 6}
    done = {one["custom_id"]: one["result"] for one in service.manifest(batch_id, "output")}
    assert all(done.values())
    assert service.worker.records.get(item_job_id(batch_id, 0)) is None, "what was done is not done again"


def sweep(service, *, days=0.0, orphans=False):
    now = service.worker.records.now() + days * 86_400
    service.worker.client.delete("w:lead:sweeper")
    sweeper = Sweeper(service.worker.ctx, service.worker.repairs)
    sweeper._batches.look(now, settled=0.0)
    if orphans:
        for _ in range(2):
            sweeper._batches.sweep_orphans(now)


def objects(service, batch_id):
    return [info.key for info in service.store.list(batch_prefix(batch_id))]


def test_a_batch_goes_when_its_time_is_over(service):
    service.record("incoming/a.wav")
    batch_id = service.submit(item("a"))
    running = service.submit(item("a"))
    sweep(service, days=31)
    assert service.batch(running)["status"] == "processing"
    service.run(batch_id)
    sweep(service, days=29)
    assert objects(service, batch_id)
    sweep(service, days=31)
    assert objects(service, batch_id) == []
    assert service.client.get(f"/v1/batches/{batch_id}").status_code == 404


def test_what_was_never_accepted_goes_and_what_was_comes_back(service):
    service.record("incoming/a.wav")
    batch_id = service.submit(item("a"))
    stray = "0" * 32
    service.store.put(items_key(stray, 0), b"{}")
    service.worker.client.flushall()
    sweep(service, days=0, orphans=True)
    assert objects(service, stray), "it is young"
    sweep(service, days=1, orphans=True)
    assert objects(service, stray) == []
    service.replace()
    assert service.run(batch_id)["status"] == "completed"


def test_what_a_late_leader_wrote_to_a_deleted_batch_goes(service):
    service.record("incoming/a.wav")
    batch_id = service.submit(item("a"))
    service.run(batch_id)
    assert service.client.delete(f"/v1/batches/{batch_id}").status_code == 204
    service.store.put(f"{batch_prefix(batch_id)}output.jsonl", b"late")
    sweep(service, days=1)
    assert objects(service, batch_id) == []


def test_a_manifest_of_a_job_whose_batch_was_canceled_becomes_no_job(service, monkeypatch):
    service.record("incoming/a.wav")
    batch_id = service.submit(item("a"), item("b"))

    def killed(*_, **__):
        raise _Killed

    with monkeypatch.context() as broken:
        broken.setattr(service.worker.records, "create", killed)
        with pytest.raises(_Killed):
            service.look()
    service.replace()
    service.client.post(f"/v1/batches/{batch_id}/cancel")
    service.run(batch_id)
    sweeper = Sweeper(service.worker.ctx, service.worker.repairs)
    for _ in range(2):
        sweeper.sweep_orphans(time.time() + 5000)
    assert service.worker.records.known([item_job_id(batch_id, 0), item_job_id(batch_id, 1)]) == set()
    assert not list(service.store.list("jobs/"))


def test_a_job_of_a_batch_takes_no_more_memory_when_it_is_over(service):
    service.record("incoming/a.wav")
    batch_id = service.submit(item("a"))
    service.run(batch_id)
    job_id = item_job_id(batch_id, 0)
    assert "batch" not in service.worker.client.hgetall(f"w:job:{{{job_id}}}")
    assert service.worker.records.state(job_id) is Status.SUCCEEDED
    assert service.batches.get(batch_id).status is BatchStatus.COMPLETED


def test_an_item_may_name_an_address_and_a_bad_one_fails_alone(service):
    service.record("incoming/a.wav")
    urls = {"inside": "http://10.0.0.1/a.wav", "good": "http://93.184.215.14/tapes/a.wav?token=sesame"}
    items = [{"custom_id": name, "input": {"url": url}} for name, url in urls.items()]
    batch_id = service.submit(item("a"), *items, {"custom_id": "two", "input": {"key": "incoming/a.wav", "url": "x"}})
    service.look()
    job = service.worker.records.get(item_job_id(batch_id, 2))
    assert (job.manifest.input.url, job.manifest.input.filename) == (urls["good"], "a.wav")
    shown = service.client.get(f"/v1/batches/{batch_id}/items")
    assert [one["status"] for one in shown.json["items"]] == ["queued", "failed", "queued", "failed"]
    assert "sesame" not in shown.text
