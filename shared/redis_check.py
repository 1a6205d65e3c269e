"""What Redis must be like so that no job is lost in it, looked at when a process starts."""

import redis
import structlog

from shared.errors import QueueUnavailable, SettingsError
from shared.records import connect
from shared.settings import PREFIX, Settings

log = structlog.get_logger()


class RedisUnsafe(SettingsError):
    """Redis may drop jobs when its memory is full."""

    code = "redis_unsafe"


def check_redis(settings: Settings, *, retries: int = 8) -> None:
    """Look at the servers of records and messages; for `retries` see `shared.records.connect`.

    Raises:
        RedisUnsafe: if one may evict keys.
        QueueUnavailable: if one cannot be reached.
    """
    servers = {f"{PREFIX}REDIS_URL": settings.redis_url}
    if settings.celery_url != settings.redis_url:
        servers[f"{PREFIX}BROKER_URL"] = settings.celery_url
    for name, url in servers.items():
        with connect(url, retries=retries, timeout=3) as client:
            _check(client, name)


def memory_share(client: redis.Redis) -> float:
    """Tell which share of `maxmemory` is used; 0 where there is no limit.

    Raises:
        redis.RedisError: if Redis cannot be asked.
    """
    info = client.info("memory")
    most = int(info.get("maxmemory", 0))
    return int(info["used_memory"]) / most if most else 0.0


def _check(client: redis.Redis, name: str) -> None:
    try:
        memory, persistence = client.info("memory"), client.info("persistence")
    except redis.RedisError as error:
        raise QueueUnavailable(f"Redis cannot be reached; look at {name} ({type(error).__name__})") from error
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise RedisUnsafe(
            f"The Redis of {name} may drop jobs when its memory is full (maxmemory-policy {policy}); "
            "set maxmemory-policy noeviction."
        )
    if not persistence.get("aof_enabled"):
        log.warning(
            "this Redis keeps no append-only file: a restart of it forgets jobs, until `voicefixer-queue recover` "
            "brings them back; set appendonly yes",
            redis=name,
        )
