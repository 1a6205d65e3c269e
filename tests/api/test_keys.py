"""Who may come in, what each key may do and sees, and how often."""

import io
import json
import re
import secrets

import pytest

from shared.access import KeyShelf
from shared.errors import StorageUnavailable
from shared.queues import Dispatcher, celery_app
from shared.records import Retention
from shared.recovery import Found, Recovery, jobs_in
from shared.storage import open_storage
from tests.api.conftest import Api, folder_settings, make_api
from tests.api.test_openapi import operations

#: A receiver outside, by its number: nothing is resolved.
ELSEWHERE = "https://93.184.215.14/hooks"


def key(api: Api, name="app", scopes=("submit", "read"), **limits) -> dict[str, str]:
    """Make a key; gives the header that sends it."""
    _, token = KeyShelf(api.store).create(name, scopes, **limits)
    return {"Authorization": f"Bearer {token.text}"}


def submit(api: Api, headers=None, **fields):
    answer = api.client.post("/v1/jobs", data={"file": (io.BytesIO(b"RIFF"), "a.wav"), **fields}, headers=headers)
    answer.get_data()
    return answer


def refused(answer, status: int, code: str) -> None:
    assert (answer.status_code, answer.json["code"]) == (status, code)


def with_settings(api: Api, **more) -> Api:
    folder = api.settings.storage_url.removeprefix("file://")
    return make_api(folder_settings(api.settings.redis_url, folder, **more), api.store)


def test_on_this_machine_no_key_is_needed_until_there_is_one(api: Api):
    assert submit(api).status_code == 202
    fresh = make_api(api.settings, api.store)
    headers = key(api)
    refused(submit(fresh), 401, "key_missing")
    assert submit(fresh, headers).status_code == 202


def test_a_service_that_had_no_key_notices_the_first_within_seconds(api: Api, monkeypatch):
    assert submit(api).status_code == 202
    key(api)
    monkeypatch.setattr("api.auth.ring.time.monotonic", lambda: 1e9)
    refused(submit(api), 401, "key_missing")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_beyond_this_machine_nobody_comes_in_without_a_key(api: Api, host):
    answer = submit(with_settings(api, api_host=host))
    refused(answer, 401, "no_keys")
    assert "keys create" in answer.json["detail"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_address_is_this_machine(api: Api, host):
    assert submit(with_settings(api, api_host=host)).status_code == 202


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_a_proxy_on_this_machine_opens_nothing(api: Api, header):
    refused(submit(api, {header: "for=203.0.113.9"}), 401, "no_keys")


def test_the_operator_may_let_everyone_in_or_nobody_without_a_key(api: Api):
    assert submit(with_settings(api, auth="open", api_host="0.0.0.0")).status_code == 202
    refused(submit(with_settings(api, auth="keys")), 401, "key_missing")


def test_a_revoked_key_still_means_that_there_are_keys(api: Api):
    shelf = KeyShelf(api.store)
    made, _ = shelf.create("old", ("read",))
    shelf.revoke(made.id)
    refused(submit(make_api(api.settings, api.store)), 401, "key_missing")


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER  {}"])
def test_a_key_is_sent_as_bearer(api: Api, form):
    text = key(api)["Authorization"].removeprefix("Bearer ")
    assert submit(api, {"Authorization": form.format(text)}).status_code == 202


def test_a_key_is_sent_in_a_header_of_its_own(api: Api):
    assert submit(api, {"Api-Key": key(api)["Authorization"].removeprefix("Bearer ")}).status_code == 202


def test_what_is_no_valid_key_is_refused_and_shown_nowhere(api: Api, capsys):
    good = key(api)["Authorization"]
    other = "A" if good[-1] != "A" else "B"
    bad = [good[:-1] + other, good + "x", good[:-1], "Bearer vfq_k000000000000_" + "a" * 43, "Bearer x", "Bearer ä"]
    for text in bad:
        answer = api.client.get("/v1/jobs", headers={"Authorization": text.encode("utf-8").decode("latin-1")})
        refused(answer, 401, "key_invalid")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert text.removeprefix("Bearer ") not in answer.text or text == "Bearer x"
    out = capsys.readouterr()
    assert "vfq_k" not in out.out + out.err


def test_a_key_that_is_revoked_opens_nothing_within_seconds(api: Api, monkeypatch):
    shelf = KeyShelf(api.store)
    made, token = shelf.create("app", ("read",))
    headers = {"Api-Key": token.text}
    assert api.client.get("/v1/jobs", headers=headers).status_code == 200
    shelf.revoke(made.id)
    monkeypatch.setattr("api.auth.ring.time.monotonic", lambda: 1e9)
    refused(api.client.get("/v1/jobs", headers=headers), 401, "key_invalid")


def test_a_key_does_what_its_scopes_say(api: Api):
    reader, sender = key(api, scopes=("read",)), key(api, scopes=("submit",))
    admin = key(api, scopes=("admin",))
    refused(submit(api, reader), 403, "scope_missing")
    assert api.client.get("/v1/jobs", headers=reader).status_code == 200
    job = submit(api, sender)
    assert job.status_code == 202
    refused(api.client.get("/v1/jobs", headers=sender), 403, "scope_missing")
    assert api.client.get(f"/v1/jobs/{job.json['id']}", headers=admin).status_code == 200
    assert api.client.post(f"/v1/jobs/{job.json['id']}/cancel", headers=admin).status_code == 202


def test_what_is_public_wants_no_key(api: Api):
    key(api)
    fresh = make_api(api.settings, api.store).client
    for path in ("/healthz", "/readyz", "/version", "/health", "/metrics", "/openapi.json", "/docs"):
        assert fresh.get(path).status_code in (200, 503), path
    assert fresh.get("/nowhere").status_code == 404


def test_storage_that_goes_away_shuts_out_nobody_who_is_known(api: Api, monkeypatch):
    headers = key(api)
    assert api.client.get("/v1/jobs", headers=headers).status_code == 200

    def away(self, key_id):
        from shared.errors import StorageUnavailable

        raise StorageUnavailable("away")

    monkeypatch.setattr(KeyShelf, "get", away)
    monkeypatch.setattr("api.auth.ring.time.monotonic", lambda: 1e9)
    assert api.client.get("/v1/jobs", headers=headers).status_code == 200
    stranger = {"Api-Key": "vfq_k000000000000_" + "a" * 43}
    refused(api.client.get("/v1/jobs", headers=stranger), 503, "storage_unavailable")


def test_a_list_holds_ones_own_alone_and_a_name_stands_for_ones_own(api: Api):
    one, other = key(api), key(api)
    mine, theirs = submit(api, one).json["id"], submit(api, other).json["id"]
    assert [job["id"] for job in api.client.get("/v1/jobs", headers=one).json["jobs"]] == [mine]
    assert [job["id"] for job in api.client.get("/v1/jobs?status=queued", headers=other).json["jobs"]] == [theirs]
    data = {"file": (io.BytesIO(b"RIFF"), "a.wav")}
    first = api.client.put("/v1/jobs/tape", data=data, headers=one)
    assert first.status_code == 202
    refused(api.client.get("/v1/jobs/tape", headers=other), 404, "job_not_found")
    data = {"file": (io.BytesIO(b"RIFF"), "a.wav")}
    second = api.client.put("/v1/jobs/tape", data=data, headers=other)
    assert (second.status_code, second.json["id"] != first.json["id"]) == (202, True)


def test_with_a_foreign_key_nothing_of_anothers_is_seen_on_any_route(api: Api):
    """Every route of the document that names something of someone's, with each method that it has."""
    mine, foreign = key(api), key(api)
    job_id = submit(api, mine, metadata=json.dumps({"mine": "sesame"})).json["id"]
    api.succeed(job_id)
    batch = {"open": True, "metadata": {"mine": "sesame"}}
    batch_id = api.client.post("/v1/batches", json=batch, headers=mine).json["id"]
    assert api.client.post("/v1/webhooks", json={"url": ELSEWHERE}, headers=mine).status_code == 201
    [endpoint] = api.client.get("/v1/webhooks", headers=mine).json["webhooks"]
    told = submit(api, mine).json["id"]
    api.fail(told)
    [delivery] = api.client.get(f"/v1/jobs/{told}/deliveries", headers=mine).json["deliveries"]
    names = {"job_id": job_id, "batch_id": batch_id}
    names |= {"webhook_id": endpoint["id"], "delivery_id": delivery["id"]}
    upload = api.client.post("/v1/uploads", json={"filename": "sesame.wav", "bytes": 4}, headers=mine).json
    names |= {"upload_id": upload["id"], "number": "1"}
    document = api.client.get("/openapi.json").json
    asked = 0
    for path, method, _ in operations(document):
        if not (named := re.findall(r"{(\w+)}", path)):
            continue
        assert set(named) <= names.keys(), f"make one for {path}, so that it can be asked for"
        if method == "put" and path == "/v1/jobs/{job_id}":  # a name of the caller's own
            continue
        address = re.sub(r"{(\w+)}", lambda found: names[found[1]], path)
        body = {} if method in ("post", "patch", "put") else None
        answer = api.client.open(address, method=method.upper(), headers=foreign, json=body)
        signed = method == "put" and path.startswith("/v1/uploads/")  # asks for a signature, not for a key
        assert answer.status_code == (403 if signed else 404), (method, path, answer.status_code)
        assert "sesame" not in answer.text
        asked += 1
    assert asked >= 5
    assert api.client.get(f"/v1/jobs/{job_id}", headers=mine).json["metadata"] == {"mine": "sesame"}


def test_a_key_that_asks_too_often_is_told_when_to_go_on(api: Api):
    headers = key(api, submits_per_minute=3)
    answers = [submit(api, headers) for _ in range(5)]
    good = [answer for answer in answers if answer.status_code == 202]
    if len(good) > 3:
        pytest.skip("a new minute began in between")
    assert answers[0].headers["RateLimit-Policy"] == '"submit";q=3;w=60'
    assert re.fullmatch(r'"submit";r=2;t=\d+', answers[0].headers["RateLimit"])
    refused(answers[-1], 429, "rate_exceeded")
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 61
    assert api.client.get("/v1/jobs", headers=headers).status_code == 200, "reads have a limit of their own"
    assert submit(api, key(api)).status_code == 202, "other keys are not slowed down"


def test_a_key_may_have_so_many_unfinished_jobs(api: Api):
    headers = key(api, max_open=2)
    jobs = [submit(api, headers).json["id"] for _ in range(2)]
    answer = submit(api, headers)
    refused(answer, 429, "too_many_jobs")
    assert int(answer.headers["Retry-After"]) > 0
    assert len({name.split("/")[1] for name in api.objects() if name.startswith("jobs/")}) == 2
    api.succeed(jobs[0])
    assert submit(api, headers).status_code == 202
    assert submit(api, key(api)).status_code == 202


def test_what_is_kept_of_a_key_does_not_tell_it(api: Api):
    text = key(api)["Authorization"].removeprefix("Bearer ")
    for info in api.store.list("access/"):
        assert text.split("_")[2].encode() not in api.store.read(info.key)


def test_where_no_key_exists_no_web_page_reaches_the_service_through_its_visitor(api: Api):
    """A name that its owner lets resolve to 127.0.0.1 (DNS rebinding) is no caller of this machine."""
    page = {"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}
    assert api.client.get("/v1/jobs", headers=page).status_code == 401


def test_keys_that_were_never_made_do_not_keep_storage_busy(api: Api, monkeypatch):
    reads = []
    read = api.store.read
    monkeypatch.setattr(api.store, "read", lambda key, *args: reads.append(key) or read(key, *args))
    for _ in range(50):
        token = f"vfq_k{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"
        assert api.client.get("/v1/jobs", headers={"Api-Key": token}).status_code in (401, 429)
    assert len(reads) < 25


def test_a_job_that_was_refused_with_429_is_never_begun(clean_redis, tmp_path, monkeypatch):
    settings = folder_settings(clean_redis, tmp_path / "store", max_open_per_key=1, auth="keys")
    api = make_api(settings, open_storage(settings.storage_url))
    _, token = KeyShelf(api.store).create("a", ("submit", "read"))
    key = {"Api-Key": token.text}

    def submit():
        return api.client.post("/v1/jobs", data={"file": (io.BytesIO(b"RIFF"), "a.wav")}, headers=key)

    assert submit().status_code == 202
    with monkeypatch.context() as broken:
        broken.setattr(type(api.store), "delete_prefix", _away)
        assert submit().status_code == 429
    recovery = Recovery(api.store, api.records, Retention(api.redis, prefix="vfq:"), Dispatcher(celery_app(settings)))
    became = dict(recovery.all())
    assert Found.BEGUN not in became.values(), "the caller was told that it was not accepted"
    assert list(jobs_in(api.store))


def _away(self, prefix):
    raise StorageUnavailable("away for a moment")
