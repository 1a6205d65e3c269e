"""Webhooks over HTTP: registered, shown, tested; and a job that names its own."""

import io
import json
import re

import pytest
from standardwebhooks import Webhook

from tests.api.conftest import Api, folder_settings, make_api
from tests.api.test_keys import key
from tests.api.test_openapi import faults
from tests.support.receiver import Reply, receiver

#: Outside, by its number: nothing is resolved.
URL = "https://93.184.215.14/hook"
SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{43}=")


@pytest.fixture
def near(clean_redis, tmp_path) -> Api:
    """An API that may call loopback."""
    from shared.storage import open_storage

    settings = folder_settings(clean_redis, tmp_path / "store", outgoing_allow=("127.0.0.1",))
    return make_api(settings, open_storage(settings.storage_url))


def register(api: Api, headers=None, **more):
    answer = api.client.post("/v1/webhooks", json={"url": URL, **more}, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json


def refused(answer, status: int, code: str, pointer=None) -> None:
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    if pointer:
        assert [one["pointer"] for one in answer.json["errors"]] == [pointer]


WRONG, INSIDE = "invalid_request", "url_refused"
STATUS = {WRONG: 422, INSIDE: 403}


def failed(api: Api, **fields) -> str:
    job_id = api.submit(**fields)["id"]
    api.fail(job_id)
    return job_id


def test_an_endpoint_is_registered_changed_and_deleted(api: Api):
    made = register(api, description="ours")
    assert made["events"] == ["job.succeeded", "job.failed", "job.canceled", "job.expired", "batch.completed"]
    assert (made["url"], made["enabled"], made["description"]) == (URL, True, "ours")
    assert SECRET.fullmatch(made["secret"])
    address = f"/v1/webhooks/{made['id']}"
    assert api.client.get(address).json == made
    [listed] = api.client.get("/v1/webhooks").json["webhooks"]
    assert listed == {name: made[name] for name in made if "secret" not in name}
    changed = api.client.patch(address, json={"events": ["job.failed", "job.failed"], "enabled": False}).json
    assert (changed["events"], changed["enabled"], changed["disabled_reason"]) == (["job.failed"], False, "asked")
    assert (changed["url"], changed["secret"]) == (URL, made["secret"])
    assert api.client.patch(address, json={"enabled": True}).json["disabled_reason"] is None
    assert api.client.delete(address).status_code == 204
    refused(api.client.get(address), 404, "webhook_not_found")
    refused(api.client.get("/v1/webhooks/x"), 404, "webhook_not_found")


@pytest.mark.parametrize(("path", "allowed"), [("secret", {"GET", "HEAD"}), ("test", {"POST"})])
def test_what_stands_beside_endpoints_is_none_and_has_its_own_methods(api: Api, path, allowed):
    address = f"/v1/webhooks/{path}"
    refused(api.client.delete(address), 405, "method_not_allowed")
    answer = api.client.options(address)
    assert set(answer.headers["Allow"].split(", ")) == {*allowed, "OPTIONS"}
    assert api.client.get(f"{address}s").json["code"] == "webhook_not_found"


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({}, WRONG, "#/url"),
        ({"url": "ftp://93.184.215.14/"}, INSIDE, "#/url"),
        ({"url": "http://127.0.0.1:9000/"}, INSIDE, "#/url"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, INSIDE, "#/url"),
        ({"url": "https://user:sesame@93.184.215.14/"}, INSIDE, "#/url"),
        ({"url": URL, "events": []}, WRONG, "#/events"),
        ({"url": URL, "events": ["job.done"]}, WRONG, "#/events/0"),
        ({"url": URL, "secret": "whsec_x"}, WRONG, "#/secret"),
        ({"url": URL, "description": "x" * 201}, WRONG, "#/description"),
    ],
)
def test_what_cannot_be_registered_is_refused_with_its_place(api: Api, body, code, pointer):
    answer = api.client.post("/v1/webhooks", json=body)
    refused(answer, STATUS[code], code, pointer)
    assert "sesame" not in answer.text
    assert api.client.get("/v1/webhooks").json["webhooks"] == []


def test_a_key_registers_so_many(api: Api):
    few = make_api(api.settings.model_copy(update={"webhook_max_endpoints": 2}), api.store)
    for _ in range(2):
        register(few)
    refused(few.client.post("/v1/webhooks", json={"url": URL}), 409, "too_many_webhooks")


def test_a_rotated_secret_signs_beside_the_old_one_for_a_day(api: Api):
    made = register(api)
    rotated = api.client.post(f"/v1/webhooks/{made['id']}/rotate").json
    assert SECRET.fullmatch(rotated["secret"])
    assert rotated["secret"] != made["secret"]
    assert made["previous_secret_until"] is None
    assert rotated["previous_secret_until"] > rotated["created_at"]
    first = api.client.get("/v1/webhooks/secret").json
    assert api.client.get("/v1/webhooks/secret").json == first
    second = api.client.post("/v1/webhooks/secret/rotate").json
    assert second["secret"] not in (first["secret"], rotated["secret"])
    assert api.client.get("/v1/webhooks/secret").json == second


def test_each_key_has_its_own_and_an_admin_sees_no_secret_of_others(api: Api):
    one, other, admin = key(api), key(api), key(api, scopes=("admin",))
    mine = register(api, one)
    secrets = [api.client.get("/v1/webhooks/secret", headers=headers).json["secret"] for headers in (one, other)]
    assert len(set(secrets)) == 2
    assert api.client.get("/v1/webhooks", headers=other).json["webhooks"] == []
    for method, path in (("get", ""), ("patch", ""), ("delete", ""), ("post", "/rotate")):
        answer = getattr(api.client, method)(f"/v1/webhooks/{mine['id']}{path}", headers=other, json={})
        refused(answer, 404, "webhook_not_found")
    refused(
        api.client.post("/v1/webhooks/test", headers=other, json={"webhook_id": mine["id"]}), 404, "webhook_not_found"
    )
    seen = api.client.get(f"/v1/webhooks/{mine['id']}", headers=admin).json
    assert (seen["id"], seen["secret"]) == (mine["id"], None)
    assert register(api, one)["secret"] not in api.client.get("/v1/webhooks", headers=one).text


def test_a_job_names_its_own_webhook_in_a_form(api: Api):
    url = URL + "?token=sesame"
    job = api.submit(webhook=url, webhook_events_filter="job.failed, job.succeeded")
    assert job["options"]["webhook"] == URL
    assert job["options"]["webhook_events_filter"] == ["job.failed", "job.succeeded"]
    assert api.job(job["id"]).manifest.options.webhook == url
    assert api.submit(webhook=URL, webhook_events_filter='["job.progress"]')["options"]["webhook_events_filter"]
    options = json.dumps({"webhook": URL})
    assert api.submit(options=options)["options"]["webhook"] == URL


def test_and_in_json(api: Api):
    api.store.put("incoming/a.wav", b"RIFF")
    body = {"input": {"key": "incoming/a.wav"}, "webhook": URL, "webhook_events_filter": ["job.started"]}
    job = api.client.post("/v1/jobs", json=body).json
    assert job["options"]["webhook_events_filter"] == ["job.started"]
    api.begin(job["id"])
    [told] = api.client.get(f"/v1/jobs/{job['id']}/deliveries").json["deliveries"]
    assert (told["type"], told["kind"], told["url"], told["state"]) == ("job.started", "webhook", URL, "pending")


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        ({"webhook": "http://10.0.0.1/"}, INSIDE, "#/webhook"),
        ({"webhook": "http://[::ffff:127.0.0.1]/"}, INSIDE, "#/webhook"),
        ({"webhook": "gopher://93.184.215.14/"}, INSIDE, "#/webhook"),
        ({"webhook": "https://a b/"}, WRONG, "#/webhook"),
        ({"webhook": URL + "x" * 2048}, WRONG, "#/webhook"),
        ({"webhook": URL, "webhook_events_filter": "job.done"}, WRONG, "#/webhook_events_filter"),
        ({"webhook_events_filter": "job.failed"}, WRONG, "#"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused_and_no_job_is_made(api: Api, fields, code, pointer):
    answer = api.client.post("/v1/jobs", data={"file": (io.BytesIO(b"RIFF"), "a.wav"), **fields})
    refused(answer, STATUS[code], code, pointer)
    assert api.client.get("/v1/jobs").json["jobs"] == []


def test_deliveries_of_a_job_are_shown_with_their_receivers(api: Api):
    endpoint = register(api)
    job_id = failed(api, webhook=URL + "?token=sesame")
    answer = api.client.get(f"/v1/jobs/{job_id}/deliveries")
    assert "sesame" not in answer.text
    found = {one["kind"]: one for one in answer.json["deliveries"]}
    assert found["endpoint"]["webhook_id"] == endpoint["id"]
    assert found["endpoint"]["url"] is None
    assert found["webhook"]["url"] == URL
    assert found["webhook"]["sequence"] == api.job(job_id).version
    refused(api.client.get("/v1/jobs/nothing/deliveries"), 404, "job_not_found")


def test_a_delivery_is_sent_again_on_request(api: Api):
    register(api)
    [one] = api.client.get(f"/v1/jobs/{failed(api)}/deliveries").json["deliveries"]
    again = api.client.post(f"/v1/deliveries/{one['id']}/redeliver")
    assert (again.status_code, again.json["id"], again.json["state"]) == (202, one["id"], "pending")
    refused(api.client.post("/v1/deliveries/msg_none/redeliver"), 404, "delivery_not_found")
    api.client.patch(f"/v1/webhooks/{one['webhook_id']}", json={"enabled": False})
    refused(api.client.post(f"/v1/deliveries/{one['id']}/redeliver"), 409, "webhook_away")


def test_a_test_is_signed_and_tells_what_came_back(near: Api):
    with receiver() as there:
        endpoint = register(near, url=there.url)
        answer = near.client.post("/v1/webhooks/test", json={"webhook_id": endpoint["id"]})
        assert (answer.status_code, answer.json["delivered"], answer.json["status"]) == (200, True, 200)
        [call] = there.calls
        event = Webhook(endpoint["secret"]).verify(call.body, call.headers)
        assert (event["type"], call.id) == ("webhook.test", answer.json["message_id"])
        there.behave = lambda _: Reply(302, {"Location": there.url})
        answer = near.client.post("/v1/webhooks/test", json={"url": there.url})
        assert (answer.json["delivered"], answer.json["outcome"]) == (False, "302")
        own = near.client.get("/v1/webhooks/secret").json["secret"]
        assert Webhook(own).verify(there.calls[1].body, there.calls[1].headers)
        assert len(there.calls) == 2
    answer = near.client.post("/v1/webhooks/test", json={"url": there.url})
    assert (answer.json["delivered"], answer.json["outcome"], answer.json["status"]) == (False, "url_unreachable", None)


def test_a_test_needs_one_receiver_and_goes_nowhere_inside(api: Api):
    for body in ({}, {"url": URL, "webhook_id": "we0"}):
        refused(api.client.post("/v1/webhooks/test", json=body), 422, "invalid_request", "#")
    refused(api.client.post("/v1/webhooks/test", json={"url": "http://127.0.0.1/"}), 403, INSIDE, "#/url")


def test_few_tests_run_at_once(near: Api):
    held = near.client.application.extensions["voicefixer-queue"].webhooks.tests
    while held.acquire(blocking=False):
        pass
    refused(near.client.post("/v1/webhooks/test", json={"url": "http://127.0.0.1:9/"}), 429, "too_many_tests")


def test_what_is_answered_is_what_the_document_says(near: Api):
    document = near.client.get("/openapi.json").json

    def check(answer, path, method="get"):
        content = document["paths"][path][method]["responses"][str(answer.status_code)]["content"][answer.mimetype]
        assert list(faults(document, content["schema"], answer.json)) == []

    made = near.client.post("/v1/webhooks", json={"url": URL})
    check(made, "/v1/webhooks", "post")
    address, path = f"/v1/webhooks/{made.json['id']}", "/v1/webhooks/{webhook_id}"
    check(near.client.get("/v1/webhooks"), "/v1/webhooks")
    check(near.client.get(address), path)
    check(near.client.patch(address, json={"description": "x"}), path, "patch")
    check(near.client.patch(address, json={"color": "x"}), path, "patch")
    check(near.client.post(f"{address}/rotate"), f"{path}/rotate", "post")
    check(near.client.get("/v1/webhooks/secret"), "/v1/webhooks/secret")
    check(near.client.post("/v1/webhooks/secret/rotate"), "/v1/webhooks/secret/rotate", "post")
    check(near.client.post("/v1/webhooks/test", json={"url": "http://127.0.0.1:9/"}), "/v1/webhooks/test", "post")
    job_id = failed(near, webhook=URL)
    told = near.client.get(f"/v1/jobs/{job_id}/deliveries")
    check(told, "/v1/jobs/{job_id}/deliveries")
    again = near.client.post(f"/v1/deliveries/{told.json['deliveries'][0]['id']}/redeliver")
    check(again, "/v1/deliveries/{delivery_id}/redeliver", "post")
