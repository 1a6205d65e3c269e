"""What the leader of batches works with."""

from collections.abc import Callable
from dataclasses import dataclass

import redis

from shared.batches.records import BatchRecords
from shared.connections import open_batches, open_records
from shared.outgoing import Outgoing
from shared.queues import Dispatcher
from shared.records import JobRecords, Uploads, connect
from shared.redis_check import memory_share
from shared.settings import Settings
from shared.storage import ObjectStore
from worker.context import Context


@dataclass(frozen=True)
class Desk:
    """
    The connections of the leader.

    Attributes:
        crowded: whether Redis has no room for more jobs
        still: to be called now and then by what takes long; raises `LeadLost` if it is not to go on

    """

    settings: Settings
    store: ObjectStore
    records: JobRecords
    batches: BatchRecords
    dispatcher: Dispatcher
    outgoing: Outgoing
    uploads: Uploads
    crowded: Callable[[], bool]
    still: Callable[[], None]


def batch_desk(ctx: Context, dispatcher: Dispatcher) -> Desk:
    """Open what the leader needs, with connections of its own. In haste: it looks again soon."""
    settings = ctx.settings
    urls = {settings.redis_url, settings.celery_url}
    servers = [connect(url, retries=1, timeout=5.0) for url in sorted(urls)]

    def crowded() -> bool:
        try:
            return max(map(memory_share, servers)) > settings.max_redis_share
        except redis.RedisError:
            return True

    return Desk(
        settings=settings,
        store=ctx.store,
        records=open_records(settings, retries=1, timeout=5.0),
        batches=open_batches(settings),
        dispatcher=dispatcher,
        outgoing=ctx.outgoing,
        uploads=Uploads(connect(settings.redis_url, retries=1, timeout=5.0), prefix=settings.key_prefix),
        crowded=crowded,
        still=lambda: None,
    )
