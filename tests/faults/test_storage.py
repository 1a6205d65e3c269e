"""Storage fails in all its ways: a real S3 server behind a proxy that refuses, cuts short, or is slow."""

import time

import pytest

from shared.storage.s3 import S3Store
from tests.faults.test_service import OUTAGE_SECONDS
from tests.faults.test_workers import ends_once
from tests.support.cluster import cluster
from tests.support.http_proxy import HttpFaultProxy
from tests.support.swift import make_bucket


@pytest.fixture(scope="module")
def proxy(s3_server):
    with HttpFaultProxy(s3_server.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def service(s3_server, proxy, tmp_path_factory):
    """A service on a bucket, with one model worker; at the end nothing may be left over."""
    bucket = make_bucket(s3_server)
    settings = {
        "VFQ_STORAGE_URL": f"s3://{bucket.name}/some/prefix",
        "VFQ_S3_ENDPOINT": f"http://127.0.0.1:{proxy.port}",
        "VFQ_S3_ACCESS_KEY": s3_server.access_key,
        "VFQ_S3_SECRET_KEY": s3_server.secret_key,
    }
    store = S3Store(s3_server.connection, bucket=bucket.name, prefix="some/prefix/")
    with cluster(tmp_path_factory.mktemp("storage"), store, settings) as running:
        yield running
        running.wait_ready()
        running.settle()


@pytest.fixture(autouse=True)
def calm(proxy):
    yield
    proxy.calm()


@pytest.mark.parametrize("how", ["down", "freeze"])
def test_storage_that_is_down_for_a_while_costs_no_job(service, proxy, recording, expected, how):
    """What needs it is put off; nothing is used up by that, and new jobs are refused for the time being."""
    jobs = [service.submit(recording) for _ in range(3)]
    service.until(lambda: service.raw.zcard("vfq:leases"))
    getattr(proxy, how)()
    began = time.monotonic()
    time.sleep(1.5)  # what was found of storage holds for a second
    answer = service.client.post("/v1/jobs", files={"file": ("a.wav", recording)})
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    time.sleep(max(0.0, began + OUTAGE_SECONDS - time.monotonic()))
    proxy.up()
    for job in jobs:
        ends_once(service, job, expected)


def test_calls_that_fail_and_answers_cut_short(service, proxy, recording, expected):
    proxy.fail_some(0.1)
    proxy.cut_some(0.1)
    jobs = []
    while len(jobs) < 6:
        answer = service.client.post("/v1/jobs", files={"file": ("a.wav", recording)})
        assert answer.status_code in (202, 503), answer.text
        if answer.status_code == 202:
            jobs.append(answer.json()["id"])
    service.until(lambda: all(str(service.records.state(job)) == "succeeded" for job in jobs), seconds=90)
    proxy.calm()
    for job in jobs:
        ends_once(service, job, expected)


def test_a_slow_storage_is_only_slow(service, proxy, recording, expected):
    service.wait_ready()  # an outage before this test leaves broken connections in the pools
    before = service.raw.hgetall("vfq:stats")
    proxy.latency(OUTAGE_SECONDS / 15)  # 2 s where outages last 30
    job = service.submit(recording)
    service.until(lambda: str(service.records.state(job)) == "succeeded", seconds=120)
    proxy.calm()
    ends_once(service, job, expected)
    after = service.raw.hgetall("vfq:stats")
    assert after.get("expired") == before.get("expired")
