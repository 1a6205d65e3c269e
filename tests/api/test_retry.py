"""A job that came to nothing, done again by a new one."""

import pytest

from shared.keys import source_key
from tests.api.conftest import Api, make_api
from tests.api.test_keys import key


def refused(answer, status: int, code: str) -> None:
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text


def failed(api: Api, **fields) -> str:
    job_id = api.submit(b"RIFF....", "tape.wav", **fields)["id"]
    api.fail(job_id)
    return job_id


def test_a_failed_job_is_done_again_with_the_same_recording_and_options(stored_api: Api):
    api = stored_api
    old = failed(api, mode="1", metadata='{"shelf": 3}', **{"output.format": "flac"})
    answer = api.client.post(f"/v1/jobs/{old}/retry")
    assert answer.status_code == 202, answer.text
    new = answer.json
    assert answer.headers["Location"] == f"/v1/jobs/{new['id']}"
    assert (new["retry_of"], new["status"], new["id"] != old) == (old, "queued", True)
    before = api.client.get(f"/v1/jobs/{old}").json
    assert (before["status"], before["retry_of"]) == ("failed", None)
    for name in ("options", "metadata", "input"):
        assert new[name] == before[name]
    assert api.job(new["id"]).manifest.retry_of == old
    assert api.client.delete(f"/v1/jobs/{old}").status_code == 204
    assert api.store.read(source_key(new["id"])) == b"RIFF...."
    api.succeed(new["id"])
    assert api.client.get(f"/v1/jobs/{new['id']}").json["retry_of"] == old


def test_what_was_to_go_on_with_a_jobs_result_goes_on_with_the_new_ones(api: Api):
    hasty = make_api(api.settings.model_copy(update={"convert_seconds": 0.05}), api.store)
    asked = {"model": "voicefixer", "source_audio": "UklGRg==", "pre_processing_filters": [{"model": "voicefixer"}] * 2}
    old = hasty.client.post("/v1/audio/convert", json=asked).headers["Location"].rpartition("/")[2]
    api.fail(old)
    new = api.client.post(f"/v1/jobs/{old}/retry").json
    before, after = api.job(old).manifest.then, api.job(new["id"]).manifest.then
    assert [one.options for one in after] == [one.options for one in before]
    assert new["followed_by"] == after[0].id
    assert not {one.id for one in after} & {one.id for one in before}


def test_a_canceled_and_an_expired_job_are_done_again(api: Api):
    canceled = api.submit()["id"]
    api.client.post(f"/v1/jobs/{canceled}/cancel")
    expired = api.submit()["id"]
    api.redis.zadd("vfq:deadlines", {expired: 1})
    api.redis.hset(f"vfq:job:{{{expired}}}", "state", "expired")
    for job_id in (canceled, expired):
        assert api.client.post(f"/v1/jobs/{job_id}/retry").status_code == 202


def test_options_may_be_changed(api: Api):
    old = failed(api, mode="1", seed="4")
    new = api.client.post(f"/v1/jobs/{old}/retry", json={"mode": 2, "output": {"bit_depth": 24}}).json
    assert (new["options"]["mode"], new["options"]["seed"], new["options"]["output"]["bit_depth"]) == (2, 4, 24)
    answer = api.client.post(f"/v1/jobs/{old}/retry", json={"mode": 7})
    refused(answer, 422, "invalid_request")
    assert answer.json["errors"][0]["pointer"] == "#/mode"
    refused(api.client.post(f"/v1/jobs/{old}/retry", json=[1]), 400, "invalid_json")
    refused(api.client.post(f"/v1/jobs/{old}/retry", data={"mode": 1}), 415, "unsupported_media_type")
    assert api.client.post(f"/v1/jobs/{old}/retry", json={}).status_code == 202


def test_a_change_that_does_not_go_with_the_other_options_is_a_conflict(api: Api):
    old = failed(api, **{"output.format": "mp3"})
    answer = api.client.post(f"/v1/jobs/{old}/retry", json={"stages": ["restore"]})
    refused(answer, 409, "options_conflict")
    assert "mel" in answer.json["detail"]
    both = {"stages": ["restore"], "output": {"format": "npy"}}
    assert api.client.post(f"/v1/jobs/{old}/retry", json=both).status_code == 202


def test_a_job_that_has_not_come_to_nothing_is_not_done_again(api: Api):
    job_id = api.submit()["id"]
    answer = api.client.post(f"/v1/jobs/{job_id}/retry")
    refused(answer, 409, "job_not_retryable")
    assert "cancel" in answer.json["detail"]
    api.succeed(job_id)
    answer = api.client.post(f"/v1/jobs/{job_id}/retry")
    refused(answer, 409, "job_not_retryable")
    assert "result" in answer.json["detail"]
    refused(api.client.post(f"/v1/jobs/{'0' * 32}/retry"), 404, "job_not_found")


def test_a_recording_that_was_deleted_cannot_be_taken_up_again(stored_api: Api):
    api = stored_api
    old = failed(api)
    api.store.delete(source_key(old))
    before = api.objects()
    refused(api.client.post(f"/v1/jobs/{old}/retry"), 410, "source_gone")
    assert api.objects() == before
    assert api.client.get("/v1/jobs?status=queued").json["jobs"] == []


def test_a_recording_by_its_key_is_named_again_and_not_copied(api: Api):
    api.store.put("incoming/tape.wav", b"RIFF")
    old = api.client.post("/v1/jobs", json={"input": {"key": "incoming/tape.wav"}}).json["id"]
    api.fail(old)
    new = api.client.post(f"/v1/jobs/{old}/retry").json
    assert new["input"]["key"] == "incoming/tape.wav"
    assert api.objects(new["id"]) == [f"jobs/{new['id']}/manifest.json"]
    api.store.delete("incoming/tape.wav")
    refused(api.client.post(f"/v1/jobs/{old}/retry"), 410, "source_gone")


def test_a_retry_is_done_once_under_its_key(api: Api):
    old, other = failed(api), failed(api)
    headers = {"Idempotency-Key": "one"}
    first = api.client.post(f"/v1/jobs/{old}/retry", headers=headers)
    again = api.client.post(f"/v1/jobs/{old}/retry", headers=headers)
    assert (again.status_code, again.data, again.headers["Idempotent-Replayed"]) == (202, first.data, "true")
    api.redis.delete(*api.redis.keys("vfq:once:*"))  # it died before it kept its answer
    assert api.client.post(f"/v1/jobs/{old}/retry", headers=headers).json["id"] == first.json["id"]
    refused(api.client.post(f"/v1/jobs/{other}/retry", headers=headers), 422, "idempotency_key_reused")
    changed = api.client.post(f"/v1/jobs/{old}/retry", json={"mode": 1}, headers=headers)
    refused(changed, 422, "idempotency_key_reused")
    # A route of its own: the same key may stand on another.
    assert api.submit()["id"] != first.json["id"]
    assert api.waiting() == 4


def test_a_retry_counts_as_any_job(api: Api):
    old = failed(api)
    small = make_api(api.settings.model_copy(update={"max_open_per_key": 1}), api.store)
    headers = key(api)
    fresh = make_api(small.settings, api.store)
    refused(fresh.client.post(f"/v1/jobs/{old}/retry", headers=headers), 404, "job_not_found")


@pytest.mark.parametrize("limit", [{"max_open_interactive": 1, "max_open_bulk": 1}])
def test_a_retry_is_refused_where_jobs_are_too_many(api: Api, limit):
    old = failed(api)
    full = make_api(api.settings.model_copy(update=limit), api.store)
    full.submit()
    before = api.objects()
    refused(full.client.post(f"/v1/jobs/{old}/retry"), 429, "too_many_jobs")
    assert api.objects() == before


def test_a_retry_is_replayed_though_the_old_job_was_deleted(api):
    job = api.submit()
    api.fail(job["id"])

    def ask():
        return api.client.post(f"/v1/jobs/{job['id']}/retry", headers={"Idempotency-Key": "r"})

    first = ask()
    assert first.status_code == 202
    assert api.client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    again = ask()
    assert (again.status_code, again.json.get("id")) == (202, first.json["id"])
