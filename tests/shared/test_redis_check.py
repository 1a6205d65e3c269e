"""What Redis must be like so that no job is lost in it."""

import pytest
from structlog.testing import capture_logs

from shared.errors import QueueUnavailable
from shared.records import connect
from shared.redis_check import RedisUnsafe, check_redis, memory_share
from shared.settings import Settings
from tests.support.ports import free_port
from tests.support.redis import redis_server


@pytest.fixture
def server(tmp_path):
    """Start a Redis with other options than the usual."""
    running = []

    def start(**options):
        context = redis_server(tmp_path / str(len(running)), **options)
        running.append(context)
        return context.__enter__()

    yield start
    for context in running:
        context.__exit__(None, None, None)


def check(**settings):
    """Check the servers; gives the names of those that were warned of."""
    with capture_logs() as lines:
        check_redis(Settings(**settings))
    assert all("append-only" in line["event"] for line in lines)
    return [line["redis"] for line in lines]


def test_a_redis_that_keeps_all_is_taken(clean_redis):
    assert check(redis_url=clean_redis) == []


def test_a_redis_that_may_drop_jobs_is_refused_and_it_is_said_what_to_set(server):
    running = server(maxmemory="50mb", maxmemory_policy="allkeys-lru")
    with pytest.raises(RedisUnsafe, match=r"VFQ_REDIS_URL.*allkeys-lru.*set maxmemory-policy noeviction") as caught:
        check(redis_url=running.url)
    assert caught.value.code == "redis_unsafe"


def test_the_broker_is_looked_at_too(clean_redis, server):
    running = server(maxmemory_policy="volatile-lru")
    with pytest.raises(RedisUnsafe, match=r"VFQ_BROKER_URL.*volatile-lru"):
        check(redis_url=clean_redis, broker_url=running.url)
    assert check(redis_url=clean_redis, broker_url=clean_redis) == []


def test_a_redis_without_an_append_only_file_is_warned_of(clean_redis, server):
    running = server(appendonly="no")
    assert check(redis_url=running.url) == ["VFQ_REDIS_URL"]
    assert check(redis_url=clean_redis, broker_url=running.url) == ["VFQ_BROKER_URL"]


def test_a_redis_that_is_away_is_one_clear_error_without_its_url(monkeypatch):
    monkeypatch.setattr("shared.redis_check.connect", lambda url, **_: connect(url, retries=0))
    with pytest.raises(QueueUnavailable, match="VFQ_REDIS_URL") as caught:
        check(redis_url=f"redis://:secret@127.0.0.1:{free_port()}/0")
    assert "secret" not in str(caught.value)


def test_the_share_of_memory_in_use_is_that_of_the_limit(server):
    with connect(server().url) as client:
        assert memory_share(client) == 0
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", 8 * used)
        before = memory_share(client)
        assert 0.1 < before < 0.2
        client.set("a", "x" * used)
        assert before + 0.1 < memory_share(client) < 0.5
