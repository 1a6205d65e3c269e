"""Jobs that go on with the result of another."""

from shared.jobs import Manifest, Status
from shared.keys import source_key
from tests.api.conftest import Api, make_api


def chain(api: Api) -> tuple[str, str]:
    """Ask for a filter before the chain; gives the ids of both jobs, of which the first is in the queue."""
    hasty = make_api(api.settings.model_copy(update={"convert_seconds": 0.05}), api.store)
    asked = {"model": "voicefixer", "source_audio": "UklGRg==", "pre_processing_filters": [{"model": "voicefixer"}]}
    first = hasty.client.post("/v1/audio/convert", json=asked).headers["Location"].rpartition("/")[2]
    return first, api.job(first).manifest.then[0].id


def hand_on(api: Api, first: str, following: str) -> None:
    """Do what a worker does before the first job succeeds."""
    before = api.job(first).manifest
    source = before.input.model_copy(update={"key": source_key(following)})
    options = before.then[0].options
    api.records.create(
        Manifest(id=following, created_at=before.created_at, owner=before.owner, input=source, options=options)
    )


def test_a_job_whose_worker_died_at_its_end_takes_its_next_along_when_it_is_canceled(api: Api):
    first, following = chain(api)
    api.begin(first)
    hand_on(api, first, following)
    assert api.client.post(f"/v1/jobs/{first}/cancel").json["status"] == "canceling"
    assert api.records.state(following) is Status.CANCELED


def test_a_job_that_has_succeeded_does_not(api: Api):
    first, following = chain(api)
    api.succeed(first)
    hand_on(api, first, following)
    assert api.client.post(f"/v1/jobs/{first}/cancel").status_code == 409
    assert api.client.delete(f"/v1/jobs/{first}").status_code == 204
    assert api.records.state(following) is Status.QUEUED
