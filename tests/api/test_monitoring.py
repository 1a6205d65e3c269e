"""`/metrics` and `/health`: what they tell is true, cheap, and nobody's."""

import io
import re
import time
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from shared.jobs import LOCAL
from shared.queues import STAGES
from shared.records import Piece
from shared.settings import Settings
from shared.webhooks.deliveries import Attempt, Deliveries
from tests.api.conftest import Api, make_api

P = "voicefixer_queue_"
NOBODY = "redis://127.0.0.1:1/0"


def families(api: Api) -> list[Metric]:
    """What Prometheus reads."""
    answer = api.client.get("/metrics")
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    return list(text_string_to_metric_families(answer.text))


def scrape(api: Api) -> dict[str, float]:
    """All samples, by name and labels."""
    return {
        f"{one.name.removeprefix(P)}{sorted(one.labels.values()) or ''}": one.value
        for family in families(api)
        for one in family.samples
    }


def by_status(found: dict[str, float], priority: str) -> dict[str, float]:
    """Open jobs that are there, by state."""
    states = {
        status: found[f"jobs_open{sorted((priority, status))}"] for status in ("queued", "processing", "canceling")
    }
    return {status: number for status, number in states.items() if number}


def test_figures_are_those_of_the_jobs(api: Api):
    before = scrape(api)
    assert before["up['redis']"] == 1
    assert by_status(before, "interactive") == by_status(before, "bulk") == {}
    assert before["jobs_created_total"] == before["oldest_queued_job_seconds['bulk']"] == 0
    done, failed, running, stopping = (api.submit()["id"] for _ in range(4))
    for _ in range(2):
        api.submit(priority="bulk")
    canceled = api.submit()["id"]
    api.succeed(done)
    api.fail(failed)
    for job_id in (running, stopping):
        api.split(job_id)
        api.begin(job_id, Piece("restore", 0))
    api.records.cancel(stopping)
    api.records.cancel(canceled)
    time.sleep(0.02)
    found = scrape(api)
    assert found["jobs_created_total"] == 7
    ended = {state: found[f"jobs_ended_total['{state}']"] for state in ("succeeded", "failed", "canceled", "expired")}
    assert ended == {"succeeded": 1, "failed": 1, "canceled": 1, "expired": 0}
    assert found["restored_audio_seconds_total"] == 30
    assert by_status(found, "interactive") == {"processing": 1, "canceling": 1}
    assert by_status(found, "bulk") == {"queued": 2}
    assert found["oldest_queued_job_seconds['bulk']"] > 0.01
    assert found["oldest_queued_job_seconds['interactive']"] == 0
    assert found["pieces_running"] == 2
    assert found["queue_messages['bulk', 'split']"] == 2
    assert found["pieces_claimed_total"] >= 6
    assert found["redis_memory_bytes['redis']"] > 100_000
    assert [found[f"workers['{stage}']"] for stage in STAGES] == [0, 0, 0]
    api.presence.announce("w", ["restore"], ttl=10)
    assert scrape(api)["workers['restore']"] == 1


def test_every_process_tells_the_same_of_the_service(api: Api):
    api.succeed(api.submit()["id"])
    api.submit()
    other = make_api(api.settings, api.store)
    found, same = (
        {name: value for name, value in scrape(one).items() if not re.match("process|http|oldest|redis_memory", name)}
        for one in (api, other)
    )
    assert found == same
    assert found["jobs_created_total"] == 2


def test_what_is_owed_to_receivers_is_counted(api: Api):
    deliveries = Deliveries(api.redis, prefix=api.settings.key_prefix)
    deliveries.enlist(LOCAL, "we_1", revision=1, url="https://example.org/a", events=["job.failed"])
    deliveries.enlist(LOCAL, "we_2", revision=1, url="https://example.org/b", events=["job.failed"])
    api.fail(api.submit()["id"])
    found = scrape(api)
    assert (found["webhook_deliveries_pending"], found["webhook_receivers_waiting"]) == (2, 1)
    one, other = deliveries.claim(most=2, room=2, lease=20, rooms={})
    assert deliveries.report(one, Attempt(time.time(), "200", 5), "delivered")
    assert deliveries.report(other, Attempt(time.time(), "500", 5), "pending", again_in=5)
    found = scrape(api)
    assert (found["webhook_deliveries_pending"], found["webhook_overdue_seconds"]) == (1, 0)
    assert found["webhook_deliveries_ended_total['delivered']"] == 1


def test_requests_are_told_by_route_and_never_by_name(api: Api):
    job_id = api.submit()["id"]
    api.client.get(f"/v1/jobs/{job_id}").close()
    api.client.get("/nowhere/at/all").close()
    api.client.open("/v1/jobs", method="BREW").close()
    text = api.client.get("/metrics").text
    found = scrape(api)
    assert found["http_requests_total['/v1/jobs/<job_id>', '200', 'GET']"] == 1
    assert found["http_requests_total['(none)', '404', 'GET']"] == 1
    assert found["http_request_duration_seconds_count['/v1/jobs', 'POST']"] == 1
    assert job_id not in text
    assert "nowhere" not in text
    assert "BREW" not in text


def test_a_redis_that_is_away_is_told_and_the_process_too(api: Api):
    away = make_api(api.settings.model_copy(update={"redis_url": NOBODY}), api.store)
    away.client.get("/healthz").close()
    found = scrape(away)
    assert found["up['redis']"] == 0
    assert found["http_requests_total['/healthz', '200', 'GET']"] == 1
    assert found["process_resident_memory_bytes"] > 1e6
    assert not [name for name in found if re.match("jobs|queue|redis|webhook|pieces|workers", name)]
    answer = away.client.get("/health")
    assert (answer.status_code, answer.json) == (503, {"audio_conversion": "unhealthy: Redis is unavailable"})


@pytest.mark.parametrize(("gone", "there"), [("redis_url", "broker"), ("broker_url", "redis")])
def test_of_two_redis_servers_each_is_told_by_itself(api: Api, gone: str, there: str):
    urls = {"redis_url": api.settings.redis_url, "broker_url": api.settings.redis_url, gone: NOBODY}
    found = scrape(make_api(Settings(storage_url="file:///nowhere", **urls), api.store))
    assert {name: found[name] for name in found if name.startswith("up")} == {
        "up['redis']": there == "redis",
        "up['broker']": there == "broker",
    }
    assert [name for name in found if name.startswith("redis_memory_bytes")] == [f"redis_memory_bytes['{there}']"]
    assert ("jobs_created_total" in found) == (there == "redis")
    assert ("queue_messages['bulk', 'split']" in found) == (there == "broker")


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


def test_metrics_and_labels_are_those_that_are_documented(api: Api):
    api.client.get("/healthz").close()
    found = {
        family.name: {label for one in family.samples for label in one.labels} - {"le"} for family in families(api)
    }
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    rows = re.findall(rf"^\| `({P}\w+)` \|([^|]*)\|", page, re.MULTILINE)
    assert {name.removesuffix("_total"): set(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == found
    counters = {family.name for family in families(api) if family.type == "counter"}
    assert {name.removesuffix("_total") for name, _ in rows if name.endswith("_total")} == counters
