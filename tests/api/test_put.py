"""A job under a name of its caller's own: made once, found by it."""

import http.client
import io
import time
from threading import Barrier, Thread

import pytest
import redis
from redis.lock import Lock

from api.jobs import submit
from shared.errors import QueueUnavailable
from shared.keys import source_key
from shared.records import JobRecords
from tests.api.conftest import Api
from tests.api.server import running


def put(api: Api, name: str, data: bytes = b"RIFF....", **fields):
    answer = api.client.put(f"/v1/jobs/{name}", data={"file": (io.BytesIO(data), "a.wav"), **fields})
    answer.get_data()
    return answer


def test_the_same_name_again_gives_the_job_that_is_there(api: Api):
    first = put(api, "tape-12")
    assert (first.status_code, first.json["client_id"]) == (202, "tape-12")
    assert first.headers["Location"] == f"/v1/jobs/{first.json['id']}"
    again = put(api, "tape-12", data=b"something else")
    assert (again.status_code, again.json["id"]) == (200, first.json["id"])
    assert api.waiting() == 1
    assert api.store.read(f"jobs/{first.json['id']}/source") == b"RIFF...."
    assert put(api, "tape-13").json["id"] != first.json["id"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"x", "text/plain", 415),
        (b'{"input": {"key": "incoming/a"}, "mode": 7}', "application/json", 422),
        (b"--x\r\n", "multipart/form-data; boundary=x", 400),
    ],
)
def test_a_request_that_could_make_no_job_finds_none(api: Api, body, kind, status):
    made = put(api, "tape-12").json["id"]
    assert api.client.put("/v1/jobs/tape-12", data=body, content_type=kind).status_code == status
    # What it names may be gone meanwhile: the job is there.
    again = api.client.put("/v1/jobs/tape-12", json={"input": {"key": "incoming/gone"}})
    assert (again.status_code, again.json["id"]) == (200, made)
    assert len({key.split("/")[1] for key in api.objects()}) == 1


def test_a_job_is_found_under_its_callers_name(api: Api):
    job_id = put(api, "tape-12").json["id"]
    assert api.client.get("/v1/jobs/tape-12").json["id"] == job_id
    api.succeed(job_id)
    assert api.client.get("/v1/jobs/tape-12/result").status_code == 200
    assert api.client.delete("/v1/jobs/tape-12").status_code == 204
    assert api.client.get("/v1/jobs/tape-12").status_code == 404


def test_a_name_that_looks_like_an_id_is_a_name(api: Api):
    other = api.submit()["id"]
    made = put(api, other)
    assert (made.status_code, made.json["client_id"]) == (202, other)
    assert made.json["id"] != other


def test_many_at_once_make_one_job(api: Api):
    answers, barrier = [], Barrier(12)

    def send() -> None:
        client = api.client.application.test_client()
        barrier.wait()
        answer = client.put("/v1/jobs/one", data={"file": (io.BytesIO(b"RIFF...."), "a.wav")})
        answers.append(
            (answer.status_code, answer.json.get("id") or answer.json["code"], answer.headers["Retry-After"])
        )

    threads = [Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(status == 202 for status, _, _ in answers) == 1
    assert {name for status, name, _ in answers if status != 409} == {put(api, "one").json["id"]}
    assert {name for status, name, _ in answers if status == 409} <= {"being_taken_in"}
    assert api.waiting() == 1


def test_what_was_deleted_can_be_made_again_at_once_and_is_another_job(api: Api):
    job_id = put(api, "one").json["id"]
    api.succeed(job_id)
    assert api.client.delete("/v1/jobs/one").status_code == 204
    again = put(api, "one")
    assert (again.status_code, again.json["id"] == job_id) == (202, False)
    assert api.client.get("/v1/jobs/one").json["id"] == again.json["id"]


def test_a_request_that_was_refused_leaves_its_name_free(api: Api):
    assert put(api, "one", mode="7").status_code == 422
    assert put(api, "one", data=b"").status_code == 422
    assert put(api, "one").status_code == 202


@pytest.mark.parametrize("name", ["a b", "ä", "a" * 129, "a:b"])
def test_a_name_of_other_characters_is_refused(api: Api, name):
    answer = put(api, name)
    assert (answer.status_code, answer.json["code"]) == (404, "malformed_job_id")


def test_a_put_whose_answer_from_redis_was_lost_names_a_job_with_its_recording(api: Api, monkeypatch):
    """Redis froze between taking the command and answering. The client is told 503, sends again, and gets 200."""
    create, withdraw = JobRecords.create, JobRecords.withdraw

    def lost(self, *args, **more):
        create(self, *args, **more)
        raise QueueUnavailable("timeout")

    def away(self, *args):
        raise QueueUnavailable("timeout")

    monkeypatch.setattr(JobRecords, "create", lost)
    monkeypatch.setattr(JobRecords, "withdraw", away)
    assert put(api, "one").status_code == 503
    monkeypatch.setattr(JobRecords, "create", create)
    monkeypatch.setattr(JobRecords, "withdraw", withdraw)
    again = put(api, "one")
    assert again.status_code in (200, 202)
    assert api.store.read(source_key(again.json["id"])) == b"RIFF....", "the job can only fail"


def test_a_recording_of_some_megabytes_that_is_sent_again_meets_its_job(tmp_path, clean_redis):
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + b"R" * 20_000_000
    body += b"\r\n--x--\r\n"
    with running(tmp_path / "api", redis_url=clean_redis, storage_url=f"file://{tmp_path}/store") as server:
        told = []
        for _ in range(2):
            client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            try:
                client.request("PUT", "/v1/jobs/one", body, {"Content-Type": "multipart/form-data; boundary=x"})
                told.append(client.getresponse().status)
            except OSError as error:
                told.append(type(error).__name__)
        assert told == [202, 200]


def test_an_upload_that_loses_its_right_changes_nothing_of_the_job_of_another_request(api: Api, monkeypatch):
    done = []
    read = submit.read_options

    def lapses(*args, **more):
        if not done:
            done.append(True)
            api.redis.delete(*api.redis.keys("*taking:*"))  # its process stood still
            done.append(put_with_another_client(api, b"the second request", mode="1"))
        return read(*args, **more)

    monkeypatch.setattr(submit, "read_options", lapses)
    assert put(api, "one", data=b"the first, slow one", mode="0").json["id"] == done[1].json["id"]
    job = done[1].json
    assert (done[1].status_code, job["options"]["mode"]) == (202, 1)
    assert len({key.split("/")[1] for key in api.objects()}) == 1
    assert api.store.read(source_key(job["id"])) == b"the second request"
    assert b'"mode":1' in api.store.read(f"jobs/{job['id']}/manifest.json")


def put_with_another_client(api: Api, data: bytes, **fields):
    client = api.client.application.test_client()
    answer = client.put("/v1/jobs/one", data={"file": (io.BytesIO(data), "a.wav"), **fields})
    answer.get_data()
    return answer


def test_a_job_of_the_same_name_has_another_etag_than_the_one_that_was_deleted(api: Api):
    assert put(api, "one", mode="0").status_code == 202
    etag = api.client.get("/v1/jobs/one").headers["ETag"]
    assert api.client.delete("/v1/jobs/one").status_code == 204
    assert put(api, "one", mode="1").status_code == 202
    assert api.client.get("/v1/jobs/one", headers={"If-None-Match": etag}).status_code == 200, "another job"


def test_a_right_is_kept_for_as_long_as_its_request_takes(api: Api, monkeypatch):
    monkeypatch.setattr("api.taking._HOLDS_SECONDS", 0.6)
    monkeypatch.setattr("api.taking._BEAT_SECONDS", 0.1)
    read = submit.read_options

    def slow(*args, **more):
        time.sleep(1.0)
        answers.append(put_with_another_client(api, b"another").json["code"])
        return read(*args, **more)

    answers = []
    monkeypatch.setattr(submit, "read_options", slow)
    assert put(api, "one").status_code == 202
    assert answers == ["being_taken_in"]


def test_a_right_that_could_not_be_given_back_lapses_soon(api: Api, monkeypatch):
    """As where Redis was killed in the midst of a request, with a file that remembers the right."""
    monkeypatch.setattr("api.taking._HOLDS_SECONDS", 0.5)

    def away(self):
        raise redis.ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(Lock, "release", away)
        assert put(api, "one", mode="7").status_code == 422
    assert put(api, "one").json["code"] == "being_taken_in"
    time.sleep(0.6)
    assert put(api, "one").status_code == 202
