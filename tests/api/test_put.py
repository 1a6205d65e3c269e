"""A job under a name of its caller's own: made once, found by it."""

import io
from threading import Barrier, Thread

import pytest

from shared.errors import QueueUnavailable
from shared.keys import source_key
from shared.records import JobRecords
from tests.api.conftest import Api


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


def test_what_was_deleted_a_moment_ago_is_not_made_while_its_objects_go(api: Api):
    job_id = put(api, "one").json["id"]
    api.succeed(job_id)
    assert api.client.delete("/v1/jobs/one").status_code == 204
    refused = put(api, "one")
    assert (refused.status_code, refused.json["code"]) == (409, "being_taken_in")
    assert int(refused.headers["Retry-After"]) >= 1


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
