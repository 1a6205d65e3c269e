import re
from pathlib import Path

import pytest

from shared.errors import StorageUnavailable
from shared.jobs import JobOutput
from shared.keys import job_prefix, receipt_key, result_key
from shared.receipt import Receipt
from shared.records import STITCH, Piece
from tests.api.conftest import RESULT, Api
from tests.api.test_openapi import faults

DOCS = Path(__file__).parents[2] / "docs" / "api.md"


def example() -> str:
    found = re.search(r"<!-- receipt:.*?```json\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert found
    return found[1]


def succeed(api: Api, *, needs_review: bool = False) -> str:
    """A job with a result and a receipt; gives its id."""
    job_id = api.submit()["id"]
    api.split(job_id)
    for stage in ("restore", "vocode"):
        api.work(job_id, Piece(stage, 0))
    claim = api.begin(job_id, STITCH)
    api.store.put(result_key(job_id, claim.attempt), RESULT)
    api.store.put(receipt_key(job_id, claim.attempt), example().encode())
    form = {"format": "wav", "media_type": "audio/wav", "filename": "a.wav", "bytes": len(RESULT), "samples": 5}
    assert api.records.succeed(job_id, claim, JobOutput(**form, needs_review=needs_review))
    return job_id


class Untouchable:
    """Storage that nobody may ask."""

    def __getattr__(self, name):
        raise AssertionError(f"storage was asked to {name}")


def replace_store(api: Api, monkeypatch, store) -> None:
    services = next(one for one in api.client.application.extensions.values() if hasattr(one, "store"))
    monkeypatch.setitem(services.__dict__, "store", store)


def test_a_receipt_is_told_with_its_job_and_alone(api: Api):
    job_id = succeed(api, needs_review=True)
    told = Receipt.model_validate_json(example()).model_dump(mode="json")
    job = api.client.get(f"/v1/jobs/{job_id}").json
    assert job["receipt"] == told
    assert job["output"]["needs_review"] is True
    answer = api.client.get(job["urls"]["receipt"])
    assert (answer.status_code, answer.data) == (200, example().encode())
    assert answer.headers["Content-Type"] == "application/json"
    same = api.client.get(job["urls"]["receipt"], headers={"If-None-Match": answer.headers["ETag"]})
    assert (same.status_code, same.data) == (304, b"")


def test_lists_have_addresses_of_receipts_and_no_receipts(api: Api, monkeypatch):
    job_id = succeed(api)
    replace_store(api, monkeypatch, Untouchable())
    (job,) = api.client.get("/v1/jobs").json["jobs"]
    assert "receipt" not in job
    assert job["urls"]["receipt"] == f"/v1/jobs/{job_id}/receipt"
    assert job["output"]["needs_review"] is False


def test_polling_an_unfinished_job_never_asks_storage(api: Api, monkeypatch):
    job_id = api.submit()["id"]
    failed = api.submit()["id"]
    api.fail(failed)
    replace_store(api, monkeypatch, Untouchable())
    for one, code in ((job_id, "job_not_finished"), (failed, "job_failed")):
        assert api.client.get(f"/v1/jobs/{one}").json["receipt"] is None
        answer = api.client.get(f"/v1/jobs/{one}/receipt")
        assert (answer.status_code, answer.json["code"]) == (409, code)
        assert "no receipt" in answer.json["detail"] or code == "job_not_finished"


def test_who_has_the_job_already_costs_storage_nothing(api: Api, monkeypatch):
    job_id = succeed(api)
    etag = api.client.get(f"/v1/jobs/{job_id}").headers["ETag"]
    replace_store(api, monkeypatch, Untouchable())
    assert api.client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": etag}).status_code == 304


def test_a_receipt_that_is_gone_is_null_and_410(stored_api: Api):
    job_id = succeed(stored_api)
    stored_api.store.delete_prefix(job_prefix(job_id))
    job = stored_api.client.get(f"/v1/jobs/{job_id}")
    assert (job.status_code, job.json["status"], job.json["receipt"]) == (200, "succeeded", None)
    answer = stored_api.client.get(f"/v1/jobs/{job_id}/receipt")
    assert (answer.status_code, answer.json["code"]) == (410, "receipt_gone")


def test_a_receipt_that_cannot_be_read_keeps_nobody_from_the_job(api: Api):
    job_id = succeed(api)
    api.store.put(receipt_key(job_id, 1), b'{"job_id": 1')
    job = api.client.get(f"/v1/jobs/{job_id}")
    assert (job.status_code, job.json["status"], job.json["receipt"]) == (200, "succeeded", None)


def test_storage_that_is_away_hides_the_receipt_and_not_the_job(api: Api, monkeypatch):
    job_id = succeed(api)

    class Away:
        def read(self, key):
            raise StorageUnavailable("away")

    with monkeypatch.context() as broken:
        replace_store(api, broken, Away())
        job = api.client.get(f"/v1/jobs/{job_id}")
        assert (job.status_code, job.json["status"], job.json["receipt"]) == (200, "succeeded", None)
        assert "ETag" not in job.headers, "the receipt would never be asked for again"
        assert api.client.get(f"/v1/jobs/{job_id}/receipt").json["code"] == "storage_unavailable"
    assert api.client.get(f"/v1/jobs/{job_id}").json["receipt"] is not None


@pytest.mark.parametrize("route", ["/v1/jobs/{job_id}", "/v1/jobs/{job_id}/receipt"])
def test_answers_with_a_receipt_are_as_the_document_says(api: Api, route):
    document = api.client.get("/openapi.json").json
    answer = api.client.get(route.format(job_id=succeed(api)))
    schema = document["paths"][route]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert list(faults(document, schema, answer.json)) == []
    described = document["components"]["schemas"]["Levels"]["properties"]
    assert all("description" in one for one in described.values())
