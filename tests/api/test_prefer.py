"""What a client would like, and an answer that waits for the end of a job."""

import time
from threading import Timer

import pytest

from api.watching.prefer import Preferences, read_preferences
from tests.api.conftest import Api, make_api
from tests.api.test_put import put


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, Preferences()),
        ("", Preferences()),
        ("wait=30", Preferences(30)),
        ("respond-async", Preferences(None, True)),
        ("respond-async, wait=10", Preferences(10, True)),
        ("Wait = 10 , RESPOND-ASYNC", Preferences(10, True)),
        ('wait="7"', Preferences(7)),
        ("wait=1, wait=2", Preferences(1)),
        ("respond-async; x=y; z, wait=3; foo", Preferences(3, True)),
        ('handling=lenient, foo="a, wait=9", wait=4', Preferences(4)),
        ('foo="a\\", wait=9", wait=4', Preferences(4)),
        ("return=minimal, priority=5", Preferences()),
        ("wait", Preferences()),
        ("wait=", Preferences()),
        ("wait=-1", Preferences()),
        ("wait=1.5", Preferences()),
        ("wait=9999999999", Preferences()),
        ("@@@, ,, wait=2", Preferences(2)),
        ('"', Preferences()),
        ("wait=2 3, respond-async", Preferences(None, True)),
        ("x; wait=3", Preferences()),
    ],
)
def test_a_header_is_read_as_rfc_7240_has_it(header, wanted):
    assert read_preferences(header) == wanted


def test_reading_takes_no_longer_than_the_header_is_long():
    began = time.monotonic()
    for text in ('"' * 8000, "a=" * 4000, "a;" * 4000, '\\"' * 4000, " " * 8000, ',"' * 4000, "a " * 4000):
        read_preferences(text)
    assert time.monotonic() - began < 1


def later(seconds, do, *args) -> Timer:
    timer = Timer(seconds, do, args)
    timer.start()
    return timer


def test_a_job_that_ends_in_time_is_answered_as_soon_as_it_does(api: Api):
    job_id = api.submit()["id"]
    timer = later(0.25, api.succeed, job_id)
    began = time.monotonic()
    known = api.client.get(f"/v1/jobs/{job_id}").headers["ETag"]
    waiting = {"Prefer": "wait=20", "If-None-Match": known}
    answer = api.client.get(f"/v1/jobs/{job_id}", headers=waiting)
    took = time.monotonic() - began
    timer.join()
    assert (answer.status_code, answer.json["status"]) == (200, "succeeded")
    assert answer.headers["Preference-Applied"] == "wait=20"
    assert "Retry-After" not in answer.headers
    assert 0.2 < took < 0.75


def test_a_job_that_does_not_is_answered_as_it_is_and_nobody_waits_longer_than_the_service_lets(api: Api):
    short = make_api(api.settings.model_copy(update={"max_wait_seconds": 1.0}), api.store)
    job_id = api.submit()["id"]
    began = time.monotonic()
    answer = short.client.get(f"/v1/jobs/{job_id}", headers=[("Prefer", "respond-async"), ("Prefer", "wait=30, x")])
    assert 0.9 < time.monotonic() - began < 1.5
    assert (answer.status_code, answer.json["status"]) == (200, "queued")
    assert (answer.headers["Preference-Applied"], answer.headers["Retry-After"]) == ("wait=1", "1")


def test_a_submit_that_waits_is_answered_with_the_job_that_is_over(api: Api, monkeypatch):
    def end(job_id=None):
        (queued,) = api.redis.zrange("vfq:queued", 0, -1)
        api.fail(queued)

    timer = later(0.25, end)
    answer = api.client.post("/v1/jobs", data={"file": form()}, headers={"Prefer": "wait=20, respond-async"})
    timer.join()
    assert (answer.status_code, answer.json["status"]) == (200, "failed")
    assert answer.headers["Preference-Applied"] == "wait=20"
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json['id']}"


def test_a_submit_that_waited_in_vain_is_accepted(api: Api):
    answer = api.client.post("/v1/jobs", data={"file": form()}, headers={"Prefer": "wait=1, respond-async"})
    assert (answer.status_code, answer.json["status"]) == (202, "queued")
    assert answer.headers["Preference-Applied"] == "respond-async, wait=1"
    plain = api.client.post("/v1/jobs", data={"file": form()})
    assert "Preference-Applied" not in plain.headers


def test_a_put_waits_for_a_job_that_is_there_too(api: Api):
    job_id = put(api, "one").json["id"]
    timer = later(0.25, api.fail, job_id)
    answer = api.client.put("/v1/jobs/one", data={"file": form()}, headers={"Prefer": "wait=20"})
    timer.join()
    assert (answer.status_code, answer.json["status"]) == (200, "failed")
    put(api, "two")
    late = api.client.put("/v1/jobs/two", data={"file": form()}, headers={"Prefer": "wait=0"})
    assert (late.status_code, late.json["status"]) == (202, "queued")


def test_where_too_many_wait_nobody_else_does(api: Api):
    full = make_api(api.settings.model_copy(update={"api_watchers": 0}), api.store)
    job_id = api.submit()["id"]
    began = time.monotonic()
    answer = full.client.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=30"})
    assert time.monotonic() - began < 1
    assert (answer.status_code, "Preference-Applied" in answer.headers) == (200, False)
    refused = full.client.get(f"/v1/jobs/{job_id}/events")
    assert (refused.status_code, refused.json["code"]) == (503, "too_many_streams")
    assert refused.headers["Retry-After"] == "5"


def test_a_wait_for_a_job_that_is_deleted_ends(api: Api):
    job_id = api.submit()["id"]

    def delete() -> None:
        client = api.client.application.test_client()
        client.delete(f"/v1/jobs/{job_id}")

    timer = later(0.3, delete)
    began = time.monotonic()
    answer = api.client.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=20"})
    timer.join()
    assert answer.status_code == 200
    assert time.monotonic() - began < 6


def form():
    import io

    return io.BytesIO(b"RIFF...."), "a.wav"
