"""The connections that the settings name, opened."""

from collections.abc import Callable

import redis

from shared.batches.records import BatchRecords
from shared.outgoing import AllowList, Outgoing, Policy
from shared.presence import Presence
from shared.records import Events, JobRecords, Repairs, Retention, Terms, connect
from shared.settings import Settings
from shared.storage import ObjectStore, open_storage
from shared.webhooks.deliveries import Deliveries
from shared.webhooks.endpoints import Endpoints
from shared.webhooks.posting import posting
from shared.webhooks.sending import Post
from shared.webhooks.shelf import Shelf


def open_store(settings: Settings, *, brisk: bool = False) -> ObjectStore:
    """Open the object store; nothing is sent yet. *brisk*: give up soon, because someone waits."""
    access, secret = settings.s3_access_key, settings.s3_secret_key
    return open_storage(
        settings.storage_url,
        endpoint=settings.s3_endpoint,
        public_endpoint=settings.s3_public_endpoint,
        region=settings.s3_region,
        access_key=access.get_secret_value() if access else None,
        secret_key=secret.get_secret_value() if secret else None,
        brisk=brisk,
    )


def open_records(
    settings: Settings, *, retries: int = 8, timeout: float = 10.0, patient: Callable[[], bool] = lambda: False
) -> JobRecords:
    """Open the job records; for `retries` and `timeout` see `shared.records.connect`, for `patient` its class."""
    return JobRecords(
        connect(settings.redis_url, retries=retries, timeout=timeout),
        prefix=settings.key_prefix,
        terms=Terms(lease=settings.lease_seconds, attempts=settings.max_attempts),
        patient=patient,
    )


def open_repairs(settings: Settings) -> Repairs:
    """Open the reconciler's side of the records. In haste: it looks again every second."""
    client = connect(settings.redis_url, retries=1, timeout=5.0)
    return Repairs(client, prefix=settings.key_prefix, attempts=settings.max_attempts)


def open_retention(settings: Settings) -> Retention:
    """Open the sweeper's side of the records."""
    return Retention(connect(settings.redis_url, retries=1, timeout=5.0), prefix=settings.key_prefix)


def open_batches(settings: Settings, *, retries: int = 1, timeout: float = 5.0) -> BatchRecords:
    """Open the records of batches; for `retries` and `timeout` see `shared.records.connect`."""
    return BatchRecords(connect(settings.redis_url, retries=retries, timeout=timeout), prefix=settings.key_prefix)


def open_deliveries(
    settings: Settings, *, retries: int = 8, timeout: float = 10.0, client: redis.Redis | None = None
) -> Deliveries:
    """Open what is owed to receivers; for `retries` and `timeout` see `shared.records.connect`."""
    client = client or connect(settings.redis_url, retries=retries, timeout=timeout)
    return Deliveries(client, prefix=settings.key_prefix, keep=settings.webhook_keep_days * 86_400)


def open_endpoints(settings: Settings, store: ObjectStore, client: redis.Redis) -> Endpoints:
    """Open the registered receivers and their secrets."""
    deliveries = open_deliveries(settings, client=client)
    grace = settings.webhook_secret_grace_seconds
    return Endpoints(Shelf(store), deliveries, client, prefix=settings.key_prefix, grace=grace)


def open_post(settings: Settings) -> Post:
    """Open what sends webhooks."""
    return posting(open_outgoing(settings), timeout=settings.webhook_timeout_seconds)


def open_events(settings: Settings) -> Events:
    """Open the stream of events. In haste: who follows it looks again."""
    return Events(connect(settings.redis_url, retries=0, timeout=5.0), prefix=settings.key_prefix)


def open_presence(settings: Settings, *, retries: int = 8, timeout: float = 10.0) -> Presence:
    """Open the register of live workers; for `retries` and `timeout` see `shared.records.connect`."""
    return Presence(connect(settings.redis_url, retries=retries, timeout=timeout), prefix=settings.key_prefix)


def open_outgoing(settings: Settings) -> Outgoing:
    """Make the client for URLs that callers name; nothing is sent yet."""
    return Outgoing(Policy(allow=AllowList.of(settings.outgoing_allow)))
