"""Batches over HTTP: what is taken in, what is refused and with which lines, and who sees it."""

import io
import json
import socket
import tracemalloc
from threading import Timer

import pytest

from shared.batches.keys import item_job_id, items_key
from shared.batches.model import BatchManifest, Item, Place
from tests.api.conftest import Api, folder_settings, make_api
from tests.api.test_keys import key
from tests.api.test_openapi import faults

JSONL = {"Content-Type": "application/jsonl"}


def line(custom_id="a", key="incoming/a.wav", **more) -> str:
    return json.dumps({"custom_id": custom_id, "input": {"key": key}, **more})


def lines(*some) -> bytes:
    return "\n".join(some).encode()


def post(api: Api, body: bytes, headers=None, **query):
    return api.client.post("/v1/batches", data=body, headers={**JSONL, **(headers or {})}, query_string=query)


def made(answer) -> dict:
    assert answer.status_code == 202, answer.text
    return answer.json


def refused(answer, status, code):
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    return answer.json


def kept(api: Api, batch_id, first=0) -> list[dict]:
    return [json.loads(one) for one in api.store.read(items_key(batch_id, first)).splitlines()]


def test_a_list_is_taken_in_as_it_comes(api: Api):
    options = json.dumps({"output": {"format": "flac", "bit_depth": 16}, "mode": 1})
    body = lines(line("a", mode=0), "", line("b", options={"output": {"bit_depth": 24}}), line("c")) + b"\r\n"
    answer = post(api, body, options=options, metadata='{"shelf": 4}')
    batch = made(answer)
    assert answer.headers["Location"] == batch["urls"]["self"] == f"/v1/batches/{batch['id']}"
    assert batch["status"] == "processing"
    assert batch["request_counts"] == {
        "total": 3, "queued": 3, "processing": 0, "succeeded": 0, "failed": 0, "canceled": 0,
    }  # fmt: skip
    assert batch["metadata"] == {"shelf": 4}
    assert kept(api, batch["id"])[1] == {
        "custom_id": "b", "input": {"key": "incoming/a.wav"}, "options": {"output": {"bit_depth": 24}},
    }  # fmt: skip
    assert api.objects() == [f"batches/{batch['id']}/batch.json", items_key(batch["id"], 0)]
    assert api.client.get(batch["urls"]["self"]).json == batch
    assert api.records.open_jobs("bulk") == 0, "jobs are made by and by"


def test_a_list_comes_as_a_form_or_lies_in_storage(api: Api):
    data = {"metadata": '{"n": 1}', "file": (io.BytesIO(lines(line())), "list.jsonl"), "options": '{"mode": 2}'}
    batch = made(api.client.post("/v1/batches", data=data))
    assert (batch["metadata"], batch["options"]) == ({"n": 1}, {"mode": 2})
    api.store.put("incoming/list.jsonl", lines(line("x"), line("y")))
    stored = made(api.client.post("/v1/batches", json={"input": {"key": "incoming/list.jsonl"}}))
    assert [one["custom_id"] for one in kept(api, stored["id"])] == ["x", "y"]
    assert not any("draft" in name for name in api.objects())
    refused(api.client.post("/v1/batches", json={"input": {"key": "secret/list"}}), 403, "input_not_allowed")


def test_an_item_at_fault_fails_alone(api: Api):
    bad = [
        line("b", modus=1),
        line("c", output={"format": "mp3", "bit_depth": 24}),
        json.dumps({"custom_id": "d"}),
        json.dumps({"custom_id": "e", "input": "x"}),
        line("f", mode=1, options={"mode": 2}),
        line("g", metadata={"x": "y" * 5000}),
    ]
    batch = made(post(api, lines(line("a"), *bad)))
    first, *others = kept(api, batch["id"])
    assert "fault" not in first
    assert [one["custom_id"] for one in others] == list("bcdefg")
    assert all(one["fault"]["message"] for one in others)
    assert others[0]["fault"]["code"] == "invalid_request"
    items = api.client.get(batch["urls"]["items"]).json["items"]
    assert [one["status"] for one in items] == ["queued"] + 6 * ["failed"]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (b"", ["#"]),
        (b"\n\n", ["#"]),
        (lines(line("a"), "{", line("b"), "[]"), ["#/line/2", "#/line/4"]),
        (lines(line("a"), line("b"), line("a"), line("")), ["#/line/3/custom_id", "#/line/4/custom_id"]),
        (lines(line("")), ["#/line/1/custom_id"]),
        (lines('{"input": {"key": "incoming/a"}}'), ["#/line/1/custom_id"]),
        (lines(line("x" * 1025)), ["#/line/1/custom_id"]),
        (lines(line("a"), line("b", metadata={"x": "y" * 100_000})), ["#/line/2"]),
        (lines(*(line(str(n)) for n in range(6))), ["#/line/6"]),
        (b"\xff\xfe{", ["#/line/1"]),
        (b'{"custom_id": "a", "custom_id": "b"}', ["#/line/1"]),
    ],
)
def test_a_list_that_is_none_is_refused_with_its_lines(api: Api, body, pointers):
    small = make_api(api.settings.model_copy(update={"max_batch_items": 5}), api.store)
    problem = refused(post(small, body), 422, "invalid_batch")
    assert [error["pointer"] for error in problem["errors"]] == pointers
    assert api.objects() == []
    assert api.client.get("/v1/batches").json["batches"] == []


def test_a_name_that_stands_twice_is_told_as_a_conflict(api: Api):
    problem = refused(post(api, lines(line("a"), line("b"), line("a"))), 409, "custom_id_taken")
    assert [error["pointer"] for error in problem["errors"]] == ["#/line/3/custom_id"]
    assert api.objects() == []


def test_of_thousands_of_faults_a_hundred_are_named(api: Api):
    problem = refused(post(api, b"x\n" * 5000), 422, "invalid_batch")
    assert len(problem["errors"]) == 100


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_request"),
        ({"open": True, "prefix": "incoming/"}, "invalid_request"),
        ({"open": "yes"}, "invalid_request"),
        ({"items": []}, "invalid_batch"),
        ({"items": {}}, "invalid_batch"),
        ({"items": [1]}, "invalid_batch"),
        ({"open": True, "options": {"modus": 1}}, "invalid_request"),
        ({"open": True, "options": []}, "invalid_request"),
        ({"open": True, "metadata": {"x": "y" * 5000}}, "invalid_request"),
        ({"open": True, "more": 1}, "invalid_request"),
        ({"prefix": "incoming/none/"}, "input_missing"),
        ({"prefix": "secret/"}, "input_not_allowed"),
        ({"prefix": "incoming/../x/"}, "input_not_allowed"),
        ({"prefix": 5}, "invalid_request"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(api: Api, body, code):
    statuses = {"input_missing": 404, "input_not_allowed": 403}
    problem = refused(api.client.post("/v1/batches", json=body), statuses.get(code, 422), code)
    assert problem["errors"]
    assert api.objects() == []


def test_other_bodies_are_refused(api: Api):
    refused(api.client.post("/v1/batches", data=b"x", content_type="text/csv"), 415, "unsupported_media_type")
    refused(post(api, lines(line()), {"Content-Encoding": "gzip"}), 415, "unsupported_media_type")
    refused(post(api, lines(line()), options="{"), 422, "invalid_request")
    refused(post(api, lines(line()), colour="red"), 422, "invalid_request")
    form = {"metadata": "{}", "colour": "red", "file": (io.BytesIO(b"{}"), "a")}
    refused(api.client.post("/v1/batches", data=form), 422, "invalid_request")


def test_a_prefix_is_listed_later(api: Api):
    api.store.put("incoming/tapes/1.wav", b"x")
    batch = made(api.client.post("/v1/batches", json={"prefix": "incoming/tapes/"}))
    assert (batch["status"], batch["prefix"]) == ("validating", "incoming/tapes/")
    assert api.client.get(batch["urls"]["items"]).json == {"items": [], "next": None}
    refused(api.client.get(batch["urls"]["output"]), 409, "batch_not_finished")


def test_items_come_one_by_one_until_the_batch_is_closed(api: Api):
    batch = made(api.client.post("/v1/batches", json={"open": True, "options": {"mode": 1}}))
    address = batch["urls"]["items"]
    assert batch["status"] == "open"
    refused(api.client.post(f"/v1/batches/{batch['id']}/close"), 409, "batch_empty")
    for name in ("a", "b"):
        item = {"custom_id": name, "input": {"key": "incoming/a.wav"}}
        made(api.client.post(address, json={"items": [item]}))
    again = lines(line("c"), line("a"))
    problem = refused(api.client.post(address, data=again, headers=JSONL), 409, "custom_id_taken")
    assert [one["pointer"] for one in problem["errors"]] == ["#/line/2/custom_id"]
    assert (
        made(api.client.post(address, data=lines(line("c"), line("d")), headers=JSONL))["request_counts"]["total"] == 4
    )
    refused(api.client.post(address, json={"items": [], "x": 1}), 422, "invalid_request")
    page = api.client.get(f"{address}?limit=3").json
    assert [one["custom_id"] for one in page["items"]] == ["a", "b", "c"]
    assert [one["custom_id"] for one in api.client.get(page["next"]).json["items"]] == ["d"]
    for _ in range(2):
        assert made(api.client.post(f"/v1/batches/{batch['id']}/close"))["status"] == "processing"
    refused(api.client.post(address, data=lines(line("e")), headers=JSONL), 409, "batch_not_open")


def test_an_open_batch_holds_no_more_than_a_list(api: Api):
    small = make_api(api.settings.model_copy(update={"max_batch_items": 3}), api.store)
    address = made(small.client.post("/v1/batches", json={"open": True}))["urls"]["items"]
    made(small.client.post(address, data=lines(line("a"), line("b")), headers=JSONL))
    refused(small.client.post(address, data=lines(line("c"), line("d")), headers=JSONL), 422, "invalid_batch")
    made(small.client.post(address, data=lines(line("c")), headers=JSONL))


def test_batches_are_listed_page_by_page(api: Api):
    ids = [made(post(api, lines(line())))["id"] for _ in range(5)]
    page, found = api.client.get("/v1/batches?limit=2").json, []
    while True:
        found += [one["id"] for one in page["batches"]]
        if page["next"] is None:
            break
        page = api.client.get(page["next"]).json
    assert found == ids[::-1]
    refused(api.client.get("/v1/batches?cursor=x"), 404, "page_not_found")


@pytest.mark.parametrize("cursor", ["x", "W10", "WzEsMl0", "WzEsMiwtMV0", "é", "WzAsMCw1XQ"])  # the last: [0,0,5]
def test_a_cursor_of_items_that_is_none_is_refused(api: Api, cursor):
    batch = made(post(api, lines(line())))
    refused(api.client.get(batch["urls"]["items"], query_string={"cursor": cursor}), 404, "page_not_found")


def test_a_batch_belongs_to_its_key(api: Api):
    mine, other, admin = key(api), key(api), key(api, scopes=("admin",))
    batch = made(post(api, lines(line()), mine))
    assert api.client.get("/v1/batches", headers=other).json["batches"] == []
    refused(api.client.get(batch["urls"]["self"], headers=other), 404, "batch_not_found")
    refused(api.client.get(batch["urls"]["jobs"], headers=other), 404, "batch_not_found")
    assert api.client.get(batch["urls"]["self"], headers=admin).status_code == 200
    assert [one["id"] for one in api.client.get("/v1/batches", headers=mine).json["batches"]] == [batch["id"]]


def test_a_key_may_have_so_many_open_batches(api: Api):
    small = make_api(api.settings.model_copy(update={"max_open_batches": 2}), api.store)
    for _ in range(2):
        made(post(small, lines(line())))
    answer = post(small, lines(line()))
    refused(answer, 429, "too_many_batches")
    assert int(answer.headers["Retry-After"]) > 0
    assert len({name.split("/")[1] for name in small.objects()}) == 2


def test_a_batch_is_canceled_before_it_is_deleted(api: Api):
    batch = made(post(api, lines(line())))
    at_once = {"Prefer": "respond-async"}
    assert made(api.client.delete(batch["urls"]["self"], headers=at_once))["status"] == "canceling"
    assert made(api.client.post(batch["urls"]["cancel"]))["status"] == "canceling"
    items = api.client.get(batch["urls"]["items"]).json["items"]
    assert [one["status"] for one in items] == ["canceled"]
    assert make_over(api, batch["id"])
    refused(api.client.post(batch["urls"]["cancel"]), 409, "batch_over")
    assert api.client.delete(batch["urls"]["self"]).status_code == 204
    assert api.objects() == []
    refused(api.client.get(batch["urls"]["self"]), 404, "batch_not_found")


def test_a_batch_that_stops_within_seconds_is_deleted_at_the_first_time_of_asking(api: Api):
    batch = made(post(api, lines(line())))
    timer = Timer(0.3, lambda: make_over(api, batch["id"]))
    timer.start()
    assert api.client.delete(batch["urls"]["self"]).status_code == 204
    timer.join()
    refused(api.client.get(batch["urls"]["self"]), 404, "batch_not_found")


def make_over(api: Api, batch_id) -> bool:
    from shared.connections import open_batches

    return open_batches(api.settings).end(batch_id)


def test_a_webhook_is_checked_and_shown_without_its_secret(api: Api):
    refused(post(api, lines(line()), webhook="http://127.0.0.1/x"), 403, "url_refused")
    refused(post(api, lines(line()), webhook_events_filter="batch.completed"), 422, "invalid_request")
    refused(post(api, lines(line()), webhook="http://93.184.215.14/", webhook_events_filter="job.failed"), 422,
            "invalid_request")  # fmt: skip
    options = json.dumps({"webhook": "http://93.184.215.14/job?secret=sesame"})
    hook = {"webhook": "http://93.184.215.14/batch?secret=sesame", "webhook_events_filter": "batch.completed"}
    answer = post(api, lines(line(), line("b", webhook="http://10.0.0.1/")), options=options, **hook)
    batch = made(answer)
    assert batch["webhook"] == "http://93.184.215.14/batch"
    assert batch["options"]["webhook"] == "http://93.184.215.14/job"
    assert "sesame" not in answer.text
    assert kept(api, batch["id"])[1]["fault"]["code"] == "url_refused", "an item's own is checked, too"
    hook = json.dumps({"webhook": "http://10.0.0.1/"})
    problem = refused(post(api, lines(line()), options=hook), 403, "url_refused")
    assert [one["pointer"] for one in problem["errors"]] == ["#/options/webhook"]
    assert make_over(api, batch["id"]) is False
    api.client.post(batch["urls"]["cancel"])
    assert make_over(api, batch["id"]) is True
    [told] = api.client.get(batch["urls"]["deliveries"]).json["deliveries"]
    assert (told["type"], told["subject"], told["url"]) == ("batch.completed", batch["id"], batch["webhook"])


def test_a_webhook_of_all_items_is_looked_up_once(api: Api, monkeypatch):
    asked = []
    monkeypatch.setattr("api.jobs.options.refuse_bad_url", lambda url, *_: asked.append(url))
    options = json.dumps({"webhook": "http://example.org/"})
    made(post(api, lines(*(line(str(n)) for n in range(50))), options=options))
    assert len([one for one in asked if one]) <= 2


def test_nothing_new_is_told_in_a_word(api: Api):
    batch = made(post(api, lines(line())))
    first = api.client.get(batch["urls"]["self"])
    again = api.client.get(batch["urls"]["self"], headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    made(api.client.post(batch["urls"]["cancel"]))
    again = api.client.get(batch["urls"]["self"], headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 200


def test_a_long_list_is_not_held_in_memory(api: Api):
    body = b"".join(line(f"item-{n:06d}", metadata={"pad": "x" * 1000}).encode() + b"\n" for n in range(3000))
    tracemalloc.start()
    try:
        made(post(api, body))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(body) / 2 + 9 * 2**20, "one part of the object, and no list of items"


def test_jobs_of_a_batch_are_listed_in_the_order_of_its_items(api: Api):
    from shared.accepting import take_in
    from shared.connections import open_batches
    from shared.jobs import BatchItem, JobInput, JobOptions, Manifest
    from shared.queues import Dispatcher, celery_app

    batch = made(post(api, lines(*(line(str(n)) for n in range(7)))))
    dispatcher = Dispatcher(celery_app(api.settings))
    for number in (0, 2, 1, 4):
        source = JobInput(key="incoming/a.wav", filename="a.wav", bytes=1)
        item = BatchItem(id=batch["id"], item=number, custom_id=str(number))
        manifest = Manifest(
            id=item_job_id(batch["id"], number), created_at=1.5, batch=item, input=source, options=JobOptions()
        )
        assert take_in(api.store, api.records, dispatcher, manifest) == "created"
    open_batches(api.settings).advance(batch["id"], 0, Place(item=5))
    page, found = api.client.get(f"{batch['urls']['jobs']}&limit=2").json, []
    while True:
        found += [(one["batch_id"], one["custom_id"]) for one in page["jobs"]]
        if page["next"] is None:
            break
        page = api.client.get(page["next"]).json
    assert found == [(batch["id"], number) for number in "0124"]
    api.fail(item_job_id(batch["id"], 2))
    failed = api.client.get(f"{batch['urls']['jobs']}&status=failed").json["jobs"]
    assert [one["custom_id"] for one in failed] == ["2"]
    counts = api.client.get(batch["urls"]["self"]).json["request_counts"]
    assert (counts["queued"], counts["failed"]) == (6, 1)


def test_what_is_answered_is_what_the_document_says(api: Api):
    document = api.client.get("/openapi.json").json

    def check(answer, path, method="get"):
        content = document["paths"][path][method]["responses"][str(answer.status_code)]["content"]
        assert list(faults(document, content[answer.mimetype]["schema"], answer.json)) == []

    sent = post(api, lines(line(), line("b", x=1)))
    batch = made(sent)
    check(sent, "/v1/batches", "post")
    check(post(api, b"{"), "/v1/batches", "post")
    check(api.client.get("/v1/batches"), "/v1/batches")
    one = "/v1/batches/{batch_id}"
    check(api.client.get(batch["urls"]["self"]), one)
    check(api.client.get("/v1/batches/x"), one)
    check(api.client.get(batch["urls"]["items"]), f"{one}/items")
    check(api.client.get(batch["urls"]["output"]), f"{one}/output")
    check(api.client.post(f"{batch['urls']['self']}/close"), f"{one}/close", "post")
    check(api.client.post(batch["urls"]["items"], json={"items": []}), f"{one}/items", "post")
    check(api.client.post(batch["urls"]["cancel"]), f"{one}/cancel", "post")
    example = document["paths"]["/v1/batches"]["post"]["requestBody"]["content"]["application/json"]["example"]
    made(api.client.post("/v1/batches", json=example))


def test_a_prefix_beyond_the_allowed_ones_is_told_with_them(api: Api):
    more = make_api(folder_settings(api.settings.redis_url, "/nowhere", input_prefixes="a/,b"), api.store)
    problem = refused(more.client.post("/v1/batches", json={"prefix": "c/"}), 403, "input_not_allowed")
    assert "a/, b/" in problem["detail"]


def test_any_storage_keeps_a_batch(stored_api: Api):
    """A list, a form, more items, and pages that begin in the middle of an object."""
    api = stored_api
    batch = made(post(api, lines(*(line(str(n)) for n in range(5)))))
    page = api.client.get(f"{batch['urls']['items']}?limit=2").json
    assert [one["custom_id"] for one in api.client.get(page["next"]).json["items"]] == ["2", "3"]
    made(api.client.post("/v1/batches", data={"file": (io.BytesIO(lines(line())), "list.jsonl")}))
    growing = made(api.client.post("/v1/batches", json={"open": True}))
    for name in "abc":
        made(api.client.post(growing["urls"]["items"], data=lines(line(name)), headers=JSONL))
    page = api.client.get(f"{growing['urls']['items']}?limit=1").json
    assert [one["custom_id"] for one in api.client.get(page["next"]).json["items"]] == ["b"]
    assert not any("draft" in name for name in api.objects())


def test_the_same_batch_under_one_idempotency_key_is_made_once(api: Api):
    lines = b'{"custom_id": "a", "input": {"key": "incoming/a.wav"}}\n'
    sent = {"data": lines, "content_type": "application/jsonl", "headers": {"Idempotency-Key": "night 1"}}
    first, again = api.client.post("/v1/batches", **sent), api.client.post("/v1/batches", **sent)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json["id"] == first.json["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(api.client.get("/v1/batches").json["batches"]) == 1
    other = api.client.post("/v1/batches", **{**sent, "data": lines.replace(b'"a"', b'"b"')})
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")


def test_items_whose_answer_was_lost_may_be_sent_again(api):
    batch = api.client.post("/v1/batches", json={"open": True}).json
    headers = {"Idempotency-Key": "once"}
    items = {"items": [{"custom_id": "a", "input": {"key": "incoming/a"}}]}
    got = [api.client.post(f"/v1/batches/{batch['id']}/items", json=items, headers=headers).status_code for _ in "ab"]
    assert got == [202, 202]


def test_items_with_webhooks_of_one_host_are_looked_up_once(api, monkeypatch):
    asked = []

    real = socket.getaddrinfo

    def lookup(host, port, *more, **named):
        if "hooks" not in str(host):
            return real(host, port, *more, **named)
        asked.append(host)
        return [(0, 0, 0, "", ("93.184.215.14", port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    lines = [
        json.dumps({"custom_id": str(n), "input": {"key": "incoming/a"}, "webhook": f"http://hooks.example/?n={n}"})
        for n in range(500)
    ]
    answer = api.client.post("/v1/batches", data="\n".join(lines), headers={"Content-Type": "application/jsonl"})
    assert answer.status_code == 202
    found = [h for h in asked if "hooks" in str(h)]
    assert len(found) < 50


def test_no_secret_is_in_any_repr(api):
    manifest = BatchManifest(id="a", created_at=0, owner="k", options={"webhook": "https://x/?sesame"})
    item = Item(custom_id="a", input={"url": "https://x/?sesame"})
    assert "sesame" not in repr([manifest]), repr(manifest)
    assert "sesame" not in repr([item]), repr(item)
