"""What the routes work with, kept on the application."""

from dataclasses import dataclass
from typing import cast

import redis
from flask import Flask, current_app
from redis.lock import Lock

from api.auth.rates import Rates
from api.auth.ring import KeyRing
from api.jobs.admission import Admission
from api.watching.hub import Hub
from api.watching.places import Places
from api.webhooks.connections import Webhooks, open_webhooks
from shared.access import KeyShelf
from shared.batches.records import BatchRecords
from shared.catalog import Catalog, read_catalog
from shared.connections import open_batches, open_events, open_outgoing, open_presence, open_records, open_store
from shared.outgoing import Outgoing
from shared.presence import Presence
from shared.queues import Dispatcher, celery_app
from shared.records import Events, JobRecords, Uploads, connect
from shared.settings import Settings
from shared.storage import ObjectStore

_NAME = "voicefixer-queue"


@dataclass(frozen=True)
class Services:
    """
    The connections of one application.

    Attributes:
        settings: of the process
        records: job records in Redis
        batches: batch records in Redis
        store: objects
        dispatcher: sends work to the queues
        presence: tells which workers are alive
        admission: whether a job may come in
        keys: API keys
        rates: how often each may ask
        webhooks: receivers, and what they are owed
        outgoing: tells which URLs of others may be called
        hub: wakes those that watch jobs
        events: the stream of events
        places: of requests that wait or stream
        uploads: records of uploads
        client: of the records' Redis, for what the API alone keeps there
        catalog: the models that requests may name
        broker: the queues' Redis, if it is not the one with the records

    """

    settings: Settings
    records: JobRecords
    batches: BatchRecords
    store: ObjectStore
    dispatcher: Dispatcher
    presence: Presence
    admission: Admission
    keys: KeyRing
    rates: Rates
    webhooks: Webhooks
    outgoing: Outgoing
    hub: Hub
    places: Places
    events: Events
    uploads: Uploads
    client: redis.Redis
    catalog: Catalog
    broker: redis.Redis | None = None

    def taking_lock(self, job_id: str, *, seconds: float) -> Lock:
        """Make the lock of the request that takes a job in, or whatever else has this name."""
        name = f"{self.settings.key_prefix}taking:{job_id}"
        return Lock(self.client, name, timeout=seconds, thread_local=False)

    def install(self, app: Flask) -> None:
        """Let the routes of *app* find them."""
        app.extensions[_NAME] = self


def services() -> Services:
    """Those of the application that serves this request."""
    return cast(Services, current_app.extensions[_NAME])


def connected(
    settings: Settings,
    *,
    records: JobRecords | None,
    store: ObjectStore | None,
    dispatcher: Dispatcher | None,
    presence: Presence | None,
    outgoing: Outgoing | None,
) -> Services:
    """Open what is not given. Nothing is sent yet.

    Raises:
        SettingsError: if a setting is wrong.
    """
    apart = settings.broker_url if settings.celery_url != settings.redis_url else None
    broker = connect(apart, retries=1, timeout=2) if apart else None
    records = records or open_records(settings, retries=2, timeout=3)
    store = store or open_store(settings, brisk=True)
    own = connect(settings.redis_url, retries=1, timeout=2)
    servers = [own, *([broker] if broker else [])]
    return Services(
        settings=settings,
        records=records,
        batches=open_batches(settings, retries=2, timeout=3),
        store=store,
        dispatcher=dispatcher or Dispatcher(celery_app(settings)),
        presence=presence or open_presence(settings, retries=1, timeout=2),
        admission=Admission(settings, records, store, servers),
        keys=KeyRing(KeyShelf(store)),
        rates=Rates(own, prefix=settings.key_prefix),
        webhooks=open_webhooks(settings, store, own),
        outgoing=outgoing or open_outgoing(settings),
        hub=Hub(open_events(settings), lambda job_ids: records.versions(job_ids)),
        events=Events(own, prefix=settings.key_prefix),
        places=Places(min(settings.api_watchers, settings.api_threads * 3 // 4)),
        uploads=Uploads(own, prefix=settings.key_prefix),
        catalog=read_catalog(settings),
        client=own,
        broker=broker,
    )
