"""A request that is sent again under its Idempotency-Key is served once."""

import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx
import pytest

from api.idempotency import KEEP_SECONDS
from shared.errors import StorageUnavailable
from shared.records import connect
from tests.api.conftest import Api, make_api
from tests.api.server import HEAD, TAIL, RawClient, running
from tests.api.test_keys import key as api_key


def send(api: Api, key: str | None, data: bytes = b"RIFF....", name: str = "a.wav", headers=None, **fields):
    given = {**(headers or {}), **({"Idempotency-Key": key} if key is not None else {})}
    answer = api.client.post("/v1/jobs", data={"file": (io.BytesIO(data), name), **fields}, headers=given)
    answer.get_data()
    return answer


def refused(answer, status: int, code: str) -> None:
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text


def test_the_same_request_again_gets_the_same_answer_and_makes_nothing(api: Api):
    first = send(api, "one", mode="1")
    assert (first.status_code, "Idempotent-Replayed" in first.headers) == (202, False)
    api.begin(first.json["id"])
    again = send(api, "one", mode="1")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
    assert again.data == first.data
    for name in ("Location", "ETag", "Retry-After", "Content-Type", "Cache-Control"):
        assert again.headers[name] == first.headers[name]
    assert api.waiting() == 1
    assert len(api.objects()) == 2  # one manifest, one recording


def test_fields_may_come_in_another_order_and_after_another_boundary(api: Api):
    first = send(api, "one", mode="1", seed="3")
    again = api.client.post(
        "/v1/jobs",
        data={"seed": "3", "file": (io.BytesIO(b"RIFF...."), "a.wav"), "mode": "1"},
        headers={"Idempotency-Key": "one"},
    )
    assert again.json["id"] == first.json["id"]
    assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    "other",
    [{"data": b"RIFF...,"}, {"data": b"RIFF"}, {"name": "b.wav"}, {"mode": "1"}, {"metadata": '{"a": 1}'}],
    ids=["bytes", "length", "name", "option", "metadata"],
)
def test_another_request_under_the_key_is_refused(api: Api, other):
    send(api, "one")
    refused(send(api, "one", **other), 422, "idempotency_key_reused")
    assert api.waiting() == 1


def test_json_is_a_request_too(api: Api):
    api.store.put("incoming/a", b"RIFF")
    api.store.put("incoming/b", b"RIFF")

    def ask(name: str, **query):
        body = {"input": {"key": f"incoming/{name}"}}
        return api.client.post("/v1/jobs", json=body, headers={"Idempotency-Key": "one"}, query_string=query)

    first = ask("a")
    assert ask("a").json["id"] == first.json["id"]
    refused(ask("b"), 422, "idempotency_key_reused")
    refused(ask("a", x="1"), 422, "idempotency_key_reused")
    refused(send(api, "one"), 422, "idempotency_key_reused")


def test_each_caller_has_keys_of_its_own(api: Api):
    one, other = api_key(api), api_key(api)
    fresh = make_api(api.settings, api.store)
    first, second = send(fresh, "x", headers=one), send(fresh, "x", headers=other)
    assert first.json["id"] != second.json["id"]
    assert send(fresh, "x", headers=one).json["id"] == first.json["id"]


def test_without_a_key_each_request_is_its_own(api: Api):
    assert send(api, None).json["id"] != send(api, None).json["id"]


@pytest.mark.parametrize("key", ["", "a" * 256, "ä", "a\tb"])
def test_what_is_no_key_is_refused(api: Api, key):
    refused(send(api, key), 400, "idempotency_key_invalid")


@pytest.mark.parametrize("key", ["a" * 255, '"8e03978e-40d5"', "a b", "~!@#$%"])
def test_any_printable_text_is_a_key(api: Api, key):
    assert send(api, key).json["id"] == send(api, key).json["id"]


def test_what_was_refused_leaves_its_key_free(api: Api, monkeypatch):
    refused(send(api, "one", mode="7"), 422, "invalid_request")
    refused(send(api, "one", data=b""), 422, "file_empty")
    full = make_api(api.settings.model_copy(update={"max_open_interactive": 1, "max_open_bulk": 1}), api.store)
    other = full.submit()["id"]
    refused(send(full, "one"), 429, "too_many_jobs")
    with monkeypatch.context() as patch:

        def away(*_args, **_more):
            raise StorageUnavailable("away")

        patch.setattr(type(api.store), "put", away)
        refused(send(api, "one"), 503, "storage_unavailable")
    api.client.delete(f"/v1/jobs/{other}")
    assert send(api, "one").status_code == 202


def test_an_answer_is_kept_for_more_than_a_day_and_is_small(api: Api):
    send(api, "one")
    (name,) = api.redis.keys("vfq:once:*")
    assert 24 * 3600 < api.redis.ttl(name) <= KEEP_SECONDS
    assert api.redis.memory_usage(name) < 1000


def test_who_died_before_it_kept_its_answer_has_made_the_job_all_the_same(api: Api):
    first = send(api, "one")
    api.redis.delete(*api.redis.keys("vfq:once:*"))
    api.redis.set(f"vfq:taking:{first.json['id']}", "the lock of the dead")
    again = send(api, "one")
    assert (again.status_code, again.json["id"]) == (202, first.json["id"])
    assert again.headers["Idempotent-Replayed"] == "true"
    assert api.redis.keys("vfq:once:*")
    api.redis.delete(*api.redis.keys("vfq:once:*"))
    refused(send(api, "one", mode="1"), 422, "idempotency_key_reused")
    assert api.waiting() == 1


def test_while_the_first_is_served_the_others_are_told_to_wait(api: Api):
    send(api, "one")
    [name] = api.redis.keys("vfq:once:*")
    api.redis.set(f"vfq:taking:{name.removeprefix('vfq:once:')}", "another request")
    api.client.delete(f"/v1/jobs/{api.client.get('/v1/jobs').json['jobs'][0]['id']}")
    api.redis.delete(name)
    answer = send(api, "one")
    refused(answer, 409, "being_taken_in")
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_job_that_was_deleted_is_not_made_again(api: Api):
    first = send(api, "one")
    api.client.post(f"/v1/jobs/{first.json['id']}/cancel")
    assert api.client.delete(f"/v1/jobs/{first.json['id']}").status_code == 204
    assert send(api, "one").data == first.data
    assert api.client.get(f"/v1/jobs/{first.json['id']}").status_code == 404


def test_what_waits_and_what_is_replayed_do_not_get_into_each_others_way(api: Api):
    first = send(api, "one", headers={"Prefer": "wait=1"})
    began = time.monotonic()
    again = send(api, "one", headers={"Prefer": "wait=30"})
    assert time.monotonic() - began < 1
    assert (again.json["id"], again.headers["Idempotent-Replayed"]) == (first.json["id"], "true")


def test_fifty_equal_submits_at_once_make_one_job_and_none_is_read_in_vain(tmp_path, redis_url):
    settings = {"redis_url": redis_url, "key_prefix": "fifty:", "storage_url": f"file://{tmp_path}/store"}
    with running(tmp_path / "own", **settings) as server:
        fifty_at_once(server, tmp_path / "store", connect(redis_url))
        refused_before_the_body(server)


def fifty_at_once(server, store, redis):
    recording = bytes(range(256)) * 2000
    barrier = Barrier(50)
    with httpx.Client(base_url=server.url, timeout=30) as client, ThreadPoolExecutor(50) as pool:

        def submit(_: int) -> list[httpx.Response]:
            answers = []
            barrier.wait()
            while not answers or answers[-1].status_code == 409:
                if answers:
                    time.sleep(0.05)
                form = {"files": {"file": ("a.wav", recording)}, "data": {"mode": "1"}}
                answers.append(client.post("/v1/jobs", headers={"Idempotency-Key": "k"}, **form))
            return answers

        sequences = list(pool.map(submit, range(50)))
    last = [answers[-1] for answers in sequences]
    early = [answer for answers in sequences for answer in answers[:-1]]
    assert {answer.status_code for answer in last} == {202}
    assert len({answer.json()["id"] for answer in last}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in last) == 1
    assert {answer.json()["code"] for answer in early} <= {"being_taken_in"}
    assert all(answer.headers["Retry-After"] == "1" for answer in early)
    assert redis.zcard("fifty:open:interactive") == 1
    other = httpx.post(
        f"{server.url}/v1/jobs", headers={"Idempotency-Key": "k"}, files={"file": ("a.wav", recording[1:])}
    )
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    job_id = last[0].json()["id"]
    stored = [path.name for path in (store / "jobs").rglob("*") if path.is_file()]
    assert sorted(stored) == ["manifest.json", "source"]
    assert httpx.get(f"{server.url}/v1/jobs/{job_id}").json()["input"]["bytes"] == len(recording)


def refused_before_the_body(server):
    """The second is told before it has sent its body; a connection whose body was read goes on."""
    body = HEAD + bytes(300_000) + TAIL
    key = "Idempotency-Key: early"
    with RawClient(server) as slow, RawClient(server) as second:
        slow.begin(key, f"Content-Length: {len(body)}")
        slow.send(body[:1000])
        time.sleep(0.3)
        second.begin(key, f"Content-Length: {len(body)}")
        second.send(body[:1000])
        status, headers, text = second.answer()
        assert (status, json.loads(text)["code"]) == (409, "being_taken_in")
        assert (headers["retry-after"], headers["connection"]) == ("1", "close")
        slow.send(body[1000:])
        status, _, text = slow.answer()
        assert status == 202
        with RawClient(server) as third:  # the same as a chunked body; its connection goes on
            third.begin(key, "Transfer-Encoding: chunked")
            third.send_chunked([body[:7], body[7:200_000], body[200_000:]])
            status, headers, again = third.answer()
            assert (status, again, headers["idempotent-replayed"]) == (202, text, "true")
            third.begin(key, f"Content-Length: {len(body)}")
            third.send(body[: -len(TAIL) - 1] + b"x" + TAIL)
            status, headers, text = third.answer()
            assert (status, json.loads(text)["code"]) == (422, "idempotency_key_reused")
            third.begin(key, f"Content-Length: {len(body)}")
            third.send(body)
            assert third.answer()[0] == 202
