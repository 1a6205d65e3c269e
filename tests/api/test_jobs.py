import time
from datetime import UTC, datetime
from threading import Timer

import pytest

from shared.connections import open_repairs
from shared.keys import pcm_key
from shared.records import Piece
from tests.api.conftest import Api

UNKNOWN = "f" * 32


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json["jobs"]]


def test_a_job_is_told_from_the_first_chunk_to_the_result(api: Api):
    job_id = api.submit()["id"]
    api.split(job_id)
    api.work(job_id, Piece("restore", 0), model="VoiceFixerRestorer sha256:ab cuda bf16 cuda:1")
    half = api.client.get(f"/v1/jobs/{job_id}").json
    assert (half["status"], half["queue_position"], half["output"]) == ("processing", None, None)
    assert half["progress"]["stage"] == "vocode"
    assert 10 < half["progress"]["percent"] < 30
    assert half["metrics"]["audio_seconds"] == 30.0
    assert half["metrics"]["queue_seconds"] >= 0
    assert half["metrics"]["processing_seconds"] is None
    by = {"backend": "cuda", "precision": "bf16", "device": "cuda:1"}
    assert half["models"] == [{"stage": "restore", "model_type": "VoiceFixerRestorer", "weights": "sha256:ab", **by}]

    api.work(job_id, Piece("vocode", 0), model="GriffinLimVocoder - torch fp32 cpu")
    api.stitch(job_id)
    answer = api.client.get(f"/v1/jobs/{job_id}")
    done = answer.json
    assert (done["status"], done["progress"]["percent"], done["error"]) == ("succeeded", 100.0, None)
    assert done["output"]["filename"] == "speech-restored.wav"
    by = {"backend": "torch", "precision": "fp32", "device": "cpu"}
    assert done["models"][1] == {"stage": "vocode", "model_type": "GriffinLimVocoder", "weights": None, **by}
    assert done["metrics"]["processing_seconds"] >= 0
    assert done["created_at"] <= done["started_at"] <= done["completed_at"]
    assert "Retry-After" not in answer.headers


def test_a_failed_job_tells_why(api: Api):
    job_id = api.submit()["id"]
    api.fail(job_id)
    job = api.client.get(f"/v1/jobs/{job_id}").json
    assert job["status"] == "failed"
    told = {"code": "undecodable", "message": "This is no audio.", "stage": "split", "attempts": None, "cause": None}
    assert job["error"] == told


def test_a_job_whose_piece_came_to_nothing_again_and_again_tells_how_often_and_why(api: Api):
    job_id = api.submit()["id"]
    for _ in range(api.settings.max_attempts):
        api.records.use_up(job_id, api.begin(job_id), "memory ran out")
    error = api.client.get(f"/v1/jobs/{job_id}").json["error"]
    told = {name: error[name] for name in ("code", "stage", "attempts", "cause")}
    assert told == {"code": "chunk_failed", "stage": "split", "attempts": 3, "cause": "memory ran out"}


def test_a_job_whose_deadline_has_passed_is_over(api: Api):
    job_id = api.submit(deadline_seconds="0.001")["id"]
    repairs = open_repairs(api.settings)
    while not repairs.expire():
        time.sleep(0.001)
    job = api.client.get(f"/v1/jobs/{job_id}").json
    assert (job["status"], job["error"]) == ("expired", None)
    assert job["completed_at"] >= job["created_at"]
    answer = api.client.get(f"/v1/jobs/{job_id}/result")
    assert (answer.status_code, answer.json["code"]) == (409, "job_expired")
    assert api.client.post(f"/v1/jobs/{job_id}/cancel").status_code == 409
    assert ids(api.client.get("/v1/jobs?status=expired")) == [job_id]


def test_an_unchanged_job_is_not_sent_again(api: Api):
    first, second = api.submit()["id"], api.submit()["id"]
    answer = api.client.get(f"/v1/jobs/{second}")
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Cache-Control"] == "no-store"
    known = {"If-None-Match": answer.headers["ETag"]}
    again = api.client.get(f"/v1/jobs/{second}", headers=known)
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", answer.headers["ETag"])
    assert again.headers["Retry-After"] == "1"

    api.begin(first)  # moves the second up
    moved = api.client.get(f"/v1/jobs/{second}", headers=known)
    assert (moved.status_code, moved.json["queue_position"]) == (200, 1)


@pytest.mark.parametrize("method", ["get", "delete"])
@pytest.mark.parametrize(
    ("job_id", "code"), [(UNKNOWN, "job_not_found"), ("F" * 129, "malformed_job_id"), ("tape-7", "job_not_found")]
)
def test_an_unknown_id_or_name_is_not_found(api: Api, method, job_id, code):
    answer = getattr(api.client, method)(f"/v1/jobs/{job_id}")
    assert (answer.status_code, answer.json["code"]) == (404, code)


@pytest.mark.parametrize("job_id", ["a" * 129, "ä" * 32, "%00", "{" + "a" * 30 + "}", "*"])
def test_what_is_no_id_is_not_found_anywhere(api: Api, job_id):
    for method, path in (("get", ""), ("get", "/result"), ("post", "/cancel"), ("delete", "")):
        answer = getattr(api.client, method)(f"/v1/jobs/{job_id}{path}")
        assert (answer.status_code, answer.json["code"]) == (404, "malformed_job_id")


def test_pages_follow_each_other_while_new_jobs_come_in(api: Api):
    old = [api.submit()["id"] for _ in range(5)][::-1]
    page = api.client.get("/v1/jobs?limit=2")
    seen = ids(page)
    while page.json["next"]:
        assert page.headers["Link"] == f'<{page.json["next"]}>; rel="next"'
        api.submit()
        page = api.client.get(page.json["next"])
        seen += ids(page)
    assert seen == old
    assert "Link" not in page.headers


def test_a_last_page_that_is_full_has_no_next(api: Api):
    api.submit()
    api.submit()
    assert api.client.get("/v1/jobs?limit=2").json["next"] is None
    assert api.client.get("/v1/jobs").json["next"] is None


def test_deleted_jobs_leave_no_hole_in_the_pages(api: Api):
    jobs = [api.submit()["id"] for _ in range(6)][::-1]
    page = api.client.get("/v1/jobs?limit=2")
    for job_id in jobs[1:4]:  # the one that the cursor names among them
        api.client.delete(f"/v1/jobs/{job_id}")
    page = api.client.get(page.json["next"])
    assert (ids(page), page.json["next"]) == (jobs[4:], None)


def test_jobs_are_listed_by_state(api: Api):
    first, second, third = (api.submit()["id"] for _ in range(3))
    api.succeed(first)
    api.begin(second)
    assert ids(api.client.get("/v1/jobs?status=succeeded")) == [first]
    assert ids(api.client.get("/v1/jobs?status=processing")) == [second]
    assert ids(api.client.get("/v1/jobs?status=queued")) == [third]
    assert ids(api.client.get("/v1/jobs?status=failed")) == []


def test_the_next_page_keeps_the_filter(api: Api):
    wanted = []
    for number in range(4):
        job_id = api.submit()["id"]
        if number % 2:
            api.begin(job_id)
            wanted.append(job_id)
    first = api.client.get("/v1/jobs?status=processing&limit=1")
    second = api.client.get(first.json["next"])
    assert [*ids(first), *ids(second)] == wanted[::-1]


def test_jobs_are_listed_from_a_time_on(api: Api):
    api.submit()
    time.sleep(0.001)
    between = datetime.now(UTC).isoformat()
    time.sleep(0.001)
    young = api.submit()["id"]
    assert ids(api.client.get("/v1/jobs", query_string={"created_after": between})) == [young]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "#/limit"),
        ("limit=101", "#/limit"),
        ("limit=many", "#/limit"),
        ("status=done", "#/status"),
        ("created_after=yesterday", "#/created_after"),
        ("created_after=2026", "#/created_after"),  # no seconds since 1970
        ("created_after=2026-01-01T00:00:00", "#/created_after"),  # of which zone?
        ("page=2", "#/page"),
    ],
)
def test_a_wrong_filter_is_refused_with_its_name(api: Api, query, pointer):
    answer = api.client.get(f"/v1/jobs?{query}")
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_request")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


@pytest.mark.parametrize("cursor", ["", "%C3%A4", "bm9uc2Vuc2U", "WzEsMl0", "W05hTiwiYSJd"])
def test_a_cursor_that_is_none_leads_to_no_page(api: Api, cursor):
    answer = api.client.get(f"/v1/jobs?cursor={cursor}")
    assert (answer.status_code, answer.json["code"]) == (404, "page_not_found")
    assert [error["pointer"] for error in answer.json["errors"]] == ["#/cursor"]


def test_a_waiting_job_is_canceled_at_once_and_keeps_what_was_sent(stored_api: Api):
    job_id = stored_api.submit()["id"]
    before = stored_api.objects(job_id)
    stored_api.store.put(pcm_key(job_id, 1), b"half done")
    answer = stored_api.client.post(f"/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json["status"]) == (202, "canceled")
    assert stored_api.objects(job_id) == before


def test_a_running_job_is_canceled_by_its_workers(api: Api):
    job_id = api.submit()["id"]
    claim = api.begin(job_id)
    for _ in range(2):
        answer = api.client.post(f"/v1/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json["status"]) == (202, "canceling")
        assert answer.headers["Retry-After"] == "1"
    api.records.abandon(job_id, claim)
    assert api.client.get(f"/v1/jobs/{job_id}").json["status"] == "canceled"


def test_a_running_job_at_which_no_worker_is_is_canceled_at_once(api: Api):
    job_id = api.submit()["id"]
    api.split(job_id)
    answer = api.client.post(f"/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json["status"]) == (202, "canceled")


@pytest.mark.parametrize("end", ["succeed", "fail", "cancel"])
def test_a_job_that_is_over_cannot_be_canceled(api: Api, end):
    job_id = api.submit()["id"]
    {"succeed": api.succeed, "fail": api.fail, "cancel": api.records.cancel}[end](job_id)
    answer = api.client.post(f"/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json["code"]) == (409, "job_over")


def test_deleting_a_finished_job_leaves_nothing_of_it(stored_api: Api):
    kept, gone = stored_api.submit()["id"], stored_api.submit()["id"]
    stored_api.succeed(gone)
    stored_api.store.put(f"jobs/{gone}x/of-another", b"-")
    answer = stored_api.client.delete(f"/v1/jobs/{gone}")
    assert (answer.status_code, answer.data) == (204, b"")
    assert stored_api.client.get(f"/v1/jobs/{gone}").status_code == 404
    assert stored_api.client.delete(f"/v1/jobs/{gone}").status_code == 404
    assert stored_api.objects(gone) == []
    assert len(stored_api.objects(kept)) == 2
    assert stored_api.store.head(f"jobs/{gone}x/of-another")
    assert stored_api.redis.keys(f"*{gone}*") == []


def test_deleting_a_waiting_job_needs_no_worker(api: Api):
    job_id = api.submit()["id"]
    assert api.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert api.objects() == []


def test_deleting_a_running_job_cancels_it_first(api: Api):
    job_id = api.submit()["id"]
    claim = api.begin(job_id)
    for preferred in ("respond-async", "wait=0"):
        answer = api.client.delete(f"/v1/jobs/{job_id}", headers={"Prefer": preferred})
        assert (answer.status_code, answer.json["status"]) == (202, "canceling")
    api.records.abandon(job_id, claim)
    assert api.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert api.objects() == []


def test_what_stops_within_seconds_is_deleted_at_the_first_time_of_asking(api: Api):
    job_id = api.submit()["id"]
    claim = api.begin(job_id)
    timer = Timer(0.3, api.records.abandon, [job_id, claim])
    timer.start()
    assert api.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    timer.join()
    assert api.client.get(f"/v1/jobs/{job_id}").status_code == 404
    assert api.objects() == []


def test_a_recording_that_was_in_storage_stays_there(api: Api):
    api.store.put("incoming/a.wav", b"abcd")
    job = api.client.post("/v1/jobs", json={"input": {"key": "incoming/a.wav"}}).json
    api.succeed(job["id"])
    assert api.client.delete(job["urls"]["self"]).status_code == 204
    assert api.objects() == ["incoming/a.wav"]


def test_a_record_that_cannot_be_read_hides_no_other(api: Api):
    job_id, bad = (api.submit()["id"] for _ in range(2))
    (key,) = api.redis.keys(f"*{bad}*:doc")
    api.redis.set(key, "\0\0\x02{}")
    answer = api.client.get("/v1/jobs")
    assert answer.status_code == 200
    assert [one["id"] for one in answer.json["jobs"]] == [job_id]
