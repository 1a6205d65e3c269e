import io
import json
import logging
import re
import sys

import pytest
import structlog

from api.app import create_app
from shared import log
from tests.api.conftest import Api

PROBLEM = {"type", "title", "status", "detail", "instance", "code", "request_id"}


def test_alive_without_asking_anyone(api: Api):
    assert api.client.get("/healthz").json == {"status": "ok"}


def test_ready_only_with_a_worker_for_every_stage(api: Api):
    api.presence.announce("one", ["audio", "restore"], ttl=30)
    api.presence.announce("two", ["restore"], ttl=30)
    answer = api.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json == {
        "redis": "ok",
        "storage": "ok",
        "workers": {"audio": 1, "restore": 2, "vocode": 0},
        "ready": False,
    }
    api.presence.announce("three", ["vocode"], ttl=30)
    answer = api.client.get("/readyz")
    assert (answer.status_code, answer.json["ready"]) == (200, True)
    api.presence.leave("one")
    assert api.client.get("/readyz").status_code == 503


def test_the_version_is_that_of_the_package(api: Api):
    answer = api.client.get("/version").json
    assert answer["name"] == "voicefixer-queue"
    assert answer["version"] == api.client.get("/openapi.json").json["info"]["version"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("get", "/", 404, "not_found"),
        ("get", "/v1/jobs/", 404, "not_found"),
        ("get", "/v1/jöbs?a=b", 404, "not_found"),
        ("put", "/v1/jobs", 405, "method_not_allowed"),
        ("post", "/healthz", 405, "method_not_allowed"),
        ("get", "/v1/jobs/a%20b", 404, "malformed_job_id"),
        ("get", "/v1/jobs?limit=x", 422, "invalid_request"),
        ("post", "/v1/jobs", 415, "unsupported_media_type"),
    ],
)
def test_every_error_is_a_problem_document(api: Api, method, path, status, code):
    answer = getattr(api.client, method)(path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json
    assert set(problem) >= PROBLEM
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["instance"] == path.partition("?")[0].replace("ö", "%C3%B6")
    assert problem["request_id"] == answer.headers["X-Request-Id"]


def test_a_wrong_method_is_told_the_right_ones(api: Api):
    assert "POST" in api.client.put("/v1/jobs").headers["Allow"]


@pytest.mark.parametrize("given", ["abc-123", "01J:x.y_z", "a" * 128])
def test_a_request_id_is_taken_over(api: Api, given):
    answer = api.client.get("/healthz", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "a" * 129, "a b", "<script>", "ä"])
def test_a_strange_request_id_is_replaced(api: Api, given):
    answer = api.client.get("/healthz", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] != given
    assert len(answer.headers["X-Request-Id"]) == 32


@pytest.fixture
def logged(api: Api, monkeypatch):
    """Turns on the log as JSON lines; gives a function that reads them."""
    root, written = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", written)
    log.configure(api.settings.model_copy(update={"log_format": "json"}))
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_each_request_is_one_line_in_the_log_without_its_query(api: Api, logged):
    job_id = api.submit()["id"]
    api.client.get(f"/v1/jobs/{job_id}?token=hunter2", headers={"X-Request-Id": "abc"}).close()
    api.client.get("/nope").close()
    api.client.get("/metrics").close()  # comes every few seconds, and is of no interest
    lines = [line for line in logged() if line["event"] == "request"]
    assert [(line["method"], line["path"], line["status"], line.get("job_id")) for line in lines] == [
        ("POST", "/v1/jobs", 202, job_id),
        ("GET", f"/v1/jobs/{job_id}", 200, job_id),
        ("GET", "/nope", 404, None),
    ]
    assert lines[1]["request_id"] == "abc"
    assert all(line["seconds"] >= 0 for line in lines)
    assert "hunter2" not in json.dumps(lines)


def test_no_control_character_of_an_address_reaches_the_log(api: Api, logged):
    api.client.get("/a%00%1b[2J%0ab").close()
    (line,) = logged()
    assert line["path"] == "/a%00%1B%5B2J%0Ab"


def test_nothing_of_a_request_is_said_of_what_comes_after_it(api: Api, logged):
    api.client.get(f"/v1/jobs/{api.submit()['id']}").close()
    logging.getLogger("gunicorn.error").warning("Invalid request")
    line = logged()[-1]
    assert line["event"] == "Invalid request"
    assert not {"job_id", "request_id"} & set(line)


def test_a_bug_is_in_the_log_and_callers_are_told_nothing(api: Api, logged):
    class Broken:
        def page(self, *_args, **_query):
            raise RuntimeError("redis://:hunter2@10.0.0.1")

    client = create_app(api.settings, store=api.store, records=Broken()).test_client()
    answer = client.get("/v1/jobs")
    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert "hunter2" not in answer.text
    assert "RuntimeError" not in answer.text
    (line,) = [line for line in logged() if line["level"] == "error"]
    assert line["request_id"] == answer.json["request_id"]
    assert "RuntimeError" in line["exception"]


def test_the_documentation_needs_no_network(api: Api):
    page = api.client.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert '"validatorUrl": null' in page.text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {"swagger/js/swagger-ui-bundle.js", "swagger/css/swagger-ui.css"} <= set(assets)
    for asset in assets:
        answer = api.client.get(f"/{asset}")
        assert answer.status_code == 200, asset
        if asset.endswith(".css"):
            assert set(re.findall(r"url\([\"']?(\w*:?)", answer.text)) <= {"data:"}
        answer.close()
