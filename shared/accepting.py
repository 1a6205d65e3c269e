"""Taking a job in: manifest object, record, message, in this order."""

from typing import Any

from shared import log
from shared.errors import QueueUnavailable
from shared.jobs import JobInput, JobOptions, Manifest
from shared.keys import manifest_key
from shared.queues import Dispatcher
from shared.records import Creation, JobRecords
from shared.settings import Settings
from shared.storage import ObjectStore

_log = log.logger("queue")


def new_manifest(
    records: JobRecords,
    settings: Settings,
    *,
    job_id: str,
    owner: str,
    source: JobInput,
    options: JobOptions,
    **more: Any,
) -> Manifest:
    """Write down what is asked now, with the service's deadline where the caller names none.

    Raises:
        QueueUnavailable: if Redis, whose clock counts, cannot be asked.
    """
    deadline = options.deadline_seconds or settings.deadline_seconds
    return Manifest(
        id=job_id,
        created_at=round(records.now(), 6),  # what a score in Redis keeps exactly
        owner=owner,
        input=source,
        options=options.model_copy(update={"deadline_seconds": deadline}),
        **more,
    )


def take_in(
    store: ObjectStore,
    records: JobRecords,
    dispatcher: Dispatcher,
    manifest: Manifest,
    *,
    most: int = 0,
    most_own: int = 0,
) -> Creation:
    """Queue a job whose recording is in storage; for what it gives see `JobRecords.create`.

    Raises:
        StorageError: if its manifest cannot be written.
        QueueUnavailable: if its record cannot be made; a message that cannot be sent is left to the reconciler.
    """
    text = manifest.model_dump_json()
    store.put(manifest_key(manifest.id), text.encode(), content_type="application/json")
    word, messages = records.create(manifest, most=most, most_own=most_own)
    try:
        dispatcher.send(messages)
    except QueueUnavailable as error:
        _log.warning("a message is left to the reconciler", job_id=manifest.id, reason=error.message)
    return word
