"""A cluster for each module: its tests do their harm one after the other, and leave it whole."""

from collections.abc import Iterator

import numpy as np
import pytest

from shared.storage import open_storage
from tests.support.cluster import Cluster, cluster
from tests.worker.test_steps import wav


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A service on a folder, with two model workers; at the end nothing may be left over, whatever happened."""
    folder = tmp_path_factory.mktemp("faults")
    store = open_storage(f"file://{folder}/objects")
    with cluster(folder, store, {"VFQ_STORAGE_URL": f"file://{folder}/objects"}, models=2) as running:
        yield running
        running.wait_ready()
        running.settle()


@pytest.fixture(scope="module")
def recording() -> bytes:
    """Some eleven seconds: five windows."""
    return wav(np.random.default_rng(5).uniform(-0.5, 0.5, 11 * 44_100).astype(np.float32)[:, None])


@pytest.fixture(scope="module")
def expected(service: Cluster, recording: bytes) -> str:
    """The sha256 of its result where nothing goes wrong."""
    job = service.submit(recording)
    assert service.wait(job)[0]["status"] == "succeeded"
    return service.result(job)


@pytest.fixture(autouse=True)
def awake(request: pytest.FixtureRequest) -> Iterator[None]:
    """No process stands still after a test."""
    yield
    if "service" in request.fixturenames:
        service: Cluster = request.getfixturevalue("service")
        while frozen := service.stopped():
            frozen.resume()
