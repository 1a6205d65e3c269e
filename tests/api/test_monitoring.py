"""`/metrics` and `/health`: what they tell is true, cheap, and nobody's."""

import io
import re
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.queues import STAGES
from shared.records import Piece
from tests.api.conftest import Api, make_api

P = "voicefixer_queue_"


def scrape(api: Api) -> dict[str, float]:
    """All samples, by name and labels."""
    answer = api.client.get("/metrics")
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    return {
        f"{one.name.removeprefix(P)}{sorted(one.labels.values()) or ''}": one.value
        for family in text_string_to_metric_families(answer.text)
        for one in family.samples
    }


def test_figures_are_those_of_the_jobs(api: Api):
    before = scrape(api)
    assert before["up"] == 1
    assert before["jobs_open['interactive']"] == before["jobs_queued"] == before["jobs_created_total"] == 0
    done, failed, running = (api.submit()["id"] for _ in range(3))
    api.submit(priority="bulk")
    canceled = api.submit()["id"]
    api.succeed(done)
    api.fail(failed)
    api.split(running)
    api.begin(running, Piece("restore", 0))
    api.records.cancel(canceled)
    time.sleep(0.02)
    found = scrape(api)
    assert found["jobs_created_total"] == 5
    ended = {state: found[f"jobs_ended_total['{state}']"] for state in ("succeeded", "failed", "canceled", "expired")}
    assert ended == {"succeeded": 1, "failed": 1, "canceled": 1, "expired": 0}
    assert found["restored_audio_seconds_total"] == 30
    assert (found["jobs_open['interactive']"], found["jobs_open['bulk']"], found["jobs_queued"]) == (1, 1, 1)
    assert found["oldest_queued_job_seconds"] > 0.01
    assert found["pieces_running"] == 1
    assert found["queue_messages['bulk', 'split']"] == 1
    assert found["pieces_claimed_total"] >= 5
    assert found["redis_memory_bytes"] > 100_000
    assert [found[f"workers['{stage}']"] for stage in STAGES] == [0, 0, 0]
    api.presence.announce("w", ["restore"], ttl=10)
    assert scrape(api)["workers['restore']"] == 1


def test_requests_are_told_by_route_and_never_by_name(api: Api):
    job_id = api.submit()["id"]
    api.client.get(f"/v1/jobs/{job_id}").close()
    api.client.get("/nowhere/at/all").close()
    api.client.open("/v1/jobs", method="BREW").close()
    text = api.client.get("/metrics").text
    found = scrape(api)
    assert found["http_requests_total['/v1/jobs/<job_id>', '200', 'GET']"] == 1
    assert found["http_requests_total['(none)', '404', 'GET']"] == 1
    assert found["http_request_seconds_count['/v1/jobs', 'POST']"] == 1
    assert job_id not in text
    assert "nowhere" not in text
    assert "BREW" not in text


def test_a_redis_that_is_away_is_told_and_the_process_too(api: Api):
    away = make_api(api.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}), api.store)
    away.client.get("/healthz").close()
    found = scrape(away)
    assert found["up"] == 0
    assert found["http_requests_total['/healthz', '200', 'GET']"] == 1
    assert "jobs_queued" not in found
    answer = away.client.get("/health")
    assert (answer.status_code, answer.json) == (503, {"audio_conversion": "unhealthy: Redis is unavailable"})


def test_a_scrape_is_cheap_however_many_jobs_there_are(api: Api):
    """Its commands are counted: none goes through jobs."""
    for _ in range(3):
        api.submit()
    scrape(api)
    before = api.redis.info("commandstats")
    scrape(api)
    after = api.redis.info("commandstats")
    used = {name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"] for name in after}
    assert sum(used.values()) < 60
    assert not [name for name in used if used[name] and re.search("scan|keys|lrange|smembers|eval", name)]


def test_health_says_what_is_missing(api: Api):
    answer = api.client.get("/health")
    assert answer.status_code == 503
    assert answer.json == {
        "audio_conversion": "unhealthy: no worker for audio; no worker for restore; no worker for vocode"
    }
    api.presence.announce("w", STAGES, ttl=10)
    answer = api.client.get("/health")
    assert (answer.status_code, answer.json) == (200, {"audio_conversion": "healthy"})


@pytest.mark.parametrize(("kind", "stage"), [("SpectralGateRestorer", "restore"), ("GriffinLimVocoder", "vocode")])
def test_a_service_with_models_for_one_stage_needs_workers_for_that(api: Api, tmp_path: Path, kind, stage):
    path = tmp_path / "config.yml"
    path.write_text(f"model_configs:\n  - {{name: one, model_type: {kind}, dtype: float, device_config: {{}}}}\n")
    alone = make_api(api.settings.model_copy(update={"config": str(path)}), api.store)
    alone.presence.announce("w", ["audio"], ttl=10)
    assert alone.client.get("/readyz").status_code == 503
    alone.presence.announce("w", [stage], ttl=10)
    assert alone.client.get("/readyz").status_code == 200
    other = {"restore": "vocode", "vocode": "restore"}[stage]
    answer = alone.client.post("/v1/jobs", data={"file": (io.BytesIO(b"RIFF"), "a.wav"), "stages": other})
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "#/stages")


def test_every_metric_is_documented(api: Api):
    names = {family.name for family in text_string_to_metric_families(api.client.get("/metrics").text)}
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    told = set(re.findall(rf"\| `({P}\w+)`", page))
    assert {name.removesuffix("_total") for name in told} == names
