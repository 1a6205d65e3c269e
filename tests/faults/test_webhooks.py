"""Every end of a job is told, whatever the receiver answers and whoever dies: `make webhooks`, small."""

from bench.webhooks.run import run


def test_every_end_is_told(tmp_path):
    found = run(tmp_path, jobs=20, seed=3, patience=60)
    assert found.good, found.as_json()
    assert set(found.jobs) == {"succeeded", "failed", "canceled", "expired"}
    assert found.kills == {"audio": 3, "models-0": 1, "redis": 2}
    assert sum(found.requests.values()) > found.requests["taken"] + 10, "it refused some"
