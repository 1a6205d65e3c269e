"""Jobs that name their recording's URL: what is taken, what is refused, and what is never shown."""

from pathlib import Path

import pytest

from api.app import create_app
from shared.connections import open_presence, open_records
from shared.jobs import Manifest
from shared.keys import manifest_key, source_key
from shared.outgoing import AllowList, Outgoing, Policy
from shared.records import connect
from shared.storage import open_storage
from tests.api.conftest import Api, folder_settings
from tests.api.test_submit import refused
from tests.support.odd_server import OddServer, plain
from tests.support.ssrf import NAMES, REFUSED, resolver

SECRET = "X-Amz-Signature=fe5f80"


def _resolve(host: str, port: int) -> list[str]:
    return ["127.0.0.1"] if host == "lan.test" else resolver(host, port)


@pytest.fixture
def api(clean_redis: str, tmp_path: Path) -> Api:
    """One that resolves names by a table."""
    settings = folder_settings(clean_redis, tmp_path / "store")
    store = open_storage(settings.storage_url)
    outgoing = Outgoing(Policy(AllowList.of(["lan.test"]), resolve=_resolve))
    return Api(
        client=create_app(settings, store=store, outgoing=outgoing).test_client(),
        settings=settings,
        records=open_records(settings, retries=1),
        store=store,
        presence=open_presence(settings, retries=1),
        redis=connect(settings.redis_url, retries=1),
    )


def test_a_url_becomes_a_job_and_its_query_stays_in_the_manifest(api: Api, caplog: pytest.LogCaptureFixture):
    url = f"https://Public.example/tapes/Gr%C3%BC%C3%9Fe%2012.m4a?{SECRET}"
    answer = api.client.post("/v1/jobs", json={"input": {"url": url}, "mode": 1, "metadata": {"a": 1}})
    assert answer.status_code == 202, answer.text
    job = answer.json
    assert job["input"] == {
        "filename": "Grüße 12.m4a",
        "bytes": None,
        "url": "https://public.example/tapes/Gr%C3%BC%C3%9Fe%2012.m4a",
    }
    assert api.waiting() == 1
    assert api.objects(job["id"]) == [manifest_key(job["id"])]
    manifest = Manifest.model_validate_json(api.store.read(manifest_key(job["id"])))
    assert manifest.input.url == url.replace("Public", "public")
    assert api.records.manifest(job["id"]) == manifest
    shown = [answer.text, api.client.get(f"/v1/jobs/{job['id']}").text, api.client.get("/v1/jobs").text]
    shown += [repr(api.job(job["id"])), caplog.text]
    assert not any("Signature" in text for text in shown)


def test_a_job_may_be_named_too(api: Api):
    for status in (202, 200):
        answer = api.client.put("/v1/jobs/tape-12", json={"input": {"url": f"http://public.example/a.wav?{SECRET}"}})
        assert answer.status_code == status, answer.text
        assert answer.json["input"]["url"] == "http://public.example/a.wav"


def test_submitting_calls_nobody(api: Api):
    with OddServer(plain()) as server:
        answer = api.client.post("/v1/jobs", json={"input": {"url": f"http://lan.test:{server.port}/a.wav"}})
        assert answer.status_code == 202
        assert server.requests == []


def test_what_must_not_be_called_is_refused_at_the_door(api: Api):
    for url, _ in REFUSED:
        answer = api.client.post("/v1/jobs", json={"input": {"url": url}})
        status, code = (422, "invalid_request") if len(url) > 4096 else (403, "url_refused")
        refused(api, answer, status, code, "#/input/url")
        assert answer.mimetype == "application/problem+json"


def test_a_refusal_tells_neither_path_nor_what_a_name_means_in_here(api: Api, caplog: pytest.LogCaptureFixture):
    answer = api.client.post("/v1/jobs", json={"input": {"url": f"http://inside.example/path-7f3a?{SECRET}"}})
    refused(api, answer, 403, "url_refused", "#/input/url")
    for secret in ("path-7f3a", "Signature", "10.1.2.3"):
        assert secret not in answer.text + caplog.text


def test_a_job_that_is_done_again_fetches_again_under_the_same_rules(api: Api):
    url = f"http://public.example/a.wav?{SECRET}"
    first = api.client.post("/v1/jobs", json={"input": {"url": url}}).json["id"]
    api.fail(first)
    answer = api.client.post(f"/v1/jobs/{first}/retry")
    assert answer.status_code == 202, answer.text
    again = api.job(answer.json["id"]).manifest
    assert (again.input.url, again.input.key) == (url, source_key(again.id))
    assert "Signature" not in answer.text
    api.client.post(f"/v1/jobs/{again.id}/cancel")
    NAMES["public.example"], before = ["10.0.0.1"], NAMES["public.example"]
    try:
        answer = api.client.post(f"/v1/jobs/{again.id}/retry")
    finally:
        NAMES["public.example"] = before
    assert (answer.status_code, answer.json["code"]) == (403, "url_refused")
