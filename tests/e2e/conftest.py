import pytest

from tests.support.redis import redis_server
from tests.support.stack import stack


@pytest.fixture(scope="package")
def redis_alone(tmp_path_factory):
    """A Redis of these tests' own, that nobody empties."""
    with redis_server(tmp_path_factory.mktemp("redis-e2e")) as server:
        yield server.url


@pytest.fixture(scope="package")
def service(redis_alone, tmp_path_factory):
    """The whole service with the weight-free models, on folder storage."""
    limits = {"VFQ_MAX_UPLOAD_BYTES": str(40 * 1024**2), "VFQ_MAX_DURATION_SECONDS": "100"}
    with stack(tmp_path_factory.mktemp("service"), redis_url=redis_alone, **limits) as running:
        yield running
