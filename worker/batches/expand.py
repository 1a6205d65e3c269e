"""Items become jobs, so many at a time that neither Redis nor the queues ever hold a whole batch."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import structlog
from pydantic import ValidationError

from shared.accepting import new_manifest, take_in
from shared.batches.items import read_items
from shared.batches.keys import item_job_id
from shared.batches.model import BatchManifest, BatchRecord, Item, ItemFault, Outcome, Place
from shared.batches.options import merged
from shared.errors import InvalidRequest, StorageDenied
from shared.inputs import InputRefused, input_to_look_up, stored_input
from shared.jobs import BatchItem, JobInput, JobOptions, Priority
from shared.keys import manifest_key
from shared.outgoing import UrlRefused
from shared.uploaded import UploadRefused, copy_upload, find_upload
from worker.batches.context import Desk
from worker.batches.outcomes import OutcomeWriter

log = structlog.get_logger()

#: Items that were made before are passed by; so many at most in one go.
_MOST_PASSED = 5000
#: Each waits for storage most of the time.
_AT_ONCE = 4


@dataclass(frozen=True)
class _Entry:
    """An item to be made a job, and where the next one stands."""

    number: int
    item: Item
    following: Place


@dataclass(frozen=True)
class _Made:
    """What became of it: the outcome of one that can be no job; `waits` if there is no room for it now."""

    outcome: Outcome | None = None
    waits: bool = False


def expand(desk: Desk, record: BatchRecord, writer: OutcomeWriter) -> bool:
    """Make jobs of the next items, as many as there is room for; False if another limit stopped it.

    Doing it again, or beside another leader, makes nothing twice.

    Raises:
        QueueUnavailable, StorageError: it may be done again.
    """
    room = desk.settings.batch_window - record.under_way
    if room <= 0 or record.next.item >= record.counts.total:
        return True
    room = min(room, _room(desk, record.manifest))
    if room <= 0 or desk.crowded():
        return False
    entries, end = _next(desk, record, room)
    # What is there already was made by a leader that died, or before Redis was lost.
    known = desk.records.known(item_job_id(record.id, one.number) for one in entries)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="batch") as pool:
        made = list(pool.map(partial(_make, desk, record.manifest, known), entries))
    outcomes = [one.outcome for one in made if one.outcome]
    if outcomes:
        writer.write(outcomes)
        for outcome in outcomes:
            desk.batches.fault(record.id, outcome.item)
    stop = next((index for index, one in enumerate(made) if one.waits), None)
    if stop is not None:
        end = entries[stop - 1].following if stop else record.next
    desk.batches.advance(record.id, record.next.item, end)
    return stop is None


def _room(desk: Desk, batch: BatchManifest) -> int:
    """How many more jobs the service and the batch's owner may have now: copies for others would be made in vain."""
    priority: Priority = "interactive" if batch.options.get("priority") == "interactive" else "bulk"
    left = _most_open(desk, priority) - desk.records.open_jobs(priority)
    if batch.max_open:
        left = min(left, batch.max_open - desk.records.open_jobs_of(batch.owner))
    return left


def _most_open(desk: Desk, priority: Priority) -> int:
    """Half of what may be open at once is left to those who send their jobs one by one."""
    most = desk.settings.max_open_bulk if priority == "bulk" else desk.settings.max_open_interactive
    return max(1, most // 2)


def _next(desk: Desk, record: BatchRecord, room: int) -> tuple[list[_Entry], Place]:
    """Give the next items that were not made, and where those after them stand."""
    made = desk.batches.made(record.id)
    entries: list[_Entry] = []
    end = record.next
    for place, item, following in _items(desk, record):
        if place.item not in made:
            entries.append(_Entry(place.item, item, following))
        end = following
        if len(entries) >= room or end.item - record.next.item >= _MOST_PASSED:
            break
    return entries, end


def _items(desk: Desk, record: BatchRecord) -> Iterator[tuple[Place, Item, Place]]:
    for place, item, following in read_items(desk.store, record.id, record.next):
        if place.item >= record.counts.total:  # being added this moment
            return
        yield place, item, following


def _make(desk: Desk, batch: BatchManifest, known: set[str], entry: _Entry) -> _Made:
    item, job_id = entry.item, item_job_id(batch.id, entry.number)
    if job_id in known:
        desk.batches.adopt(batch.id, job_id, entry.number)
        return _Made()
    if item.fault:
        return _failed(entry, item.fault)
    try:
        source = _source(desk, batch.owner, item, job_id)
        options = JobOptions.model_validate(merged(batch.options, item.options))
    except (InputRefused, UploadRefused) as refused:
        return _failed(entry, ItemFault(code=refused.reason, message=refused.message))
    except (InvalidRequest, StorageDenied, UrlRefused) as error:
        if isinstance(error, StorageDenied):
            desk.store.check()  # raises, if all of storage is closed to us, and not this object alone
        return _failed(entry, ItemFault(code=error.code, message=error.message))
    except ValidationError as error:
        return _failed(entry, ItemFault(code="invalid_request", message=error.errors()[0]["msg"]))
    return _take_in(desk, batch, entry, source, options)


def _source(desk: Desk, owner: str, item: Item, job_id: str) -> JobInput:
    """Find the recording of an item: the one place here that knows what an `input` may name."""
    named = item.input or {}
    if "key" in named:
        return stored_input(desk.store, desk.settings, str(named["key"]))
    if "url" in named:
        return input_to_look_up(desk.outgoing, str(named["url"]), job_id)
    if "upload" in named:
        most = desk.settings.max_upload_bytes
        upload = find_upload(desk.uploads, str(named["upload"]), sees=lambda other: other == owner, max_bytes=most)
        return copy_upload(desk.store, upload, job_id)
    raise InputRefused("input_not_allowed", "A batch cannot take this kind of input.", "is not for batches")


def _take_in(desk: Desk, batch: BatchManifest, entry: _Entry, source: JobInput, options: JobOptions) -> _Made:
    job_id = item_job_id(batch.id, entry.number)
    manifest = new_manifest(
        desk.records,
        desk.settings,
        job_id=job_id,
        owner=batch.owner,
        source=source,
        options=options,
        batch=BatchItem(id=batch.id, item=entry.number, custom_id=entry.item.custom_id),
    )
    most = _most_open(desk, options.priority)
    word = take_in(desk.store, desk.records, desk.dispatcher, manifest, most=most, most_own=batch.max_open)
    if word == "known":
        desk.batches.adopt(batch.id, job_id, entry.number)
    elif word != "created":
        if desk.records.state(job_id) is None:
            desk.store.delete(manifest_key(job_id))
        return _Made(waits=True)
    return _Made()


def _failed(entry: _Entry, fault: ItemFault) -> _Made:
    outcome = Outcome(item=entry.number, custom_id=entry.item.custom_id, status="failed", error=fault)
    return _Made(outcome=outcome)
