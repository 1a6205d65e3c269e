"""Pages of a batch's items, and of its jobs."""

import base64
import binascii
import json
from itertools import islice
from typing import Any

from pydantic import ValidationError

from api.batches.schemas import ItemView, shown_input
from api.cursor import unknown
from api.services import Services
from shared.batches.items import read_items
from shared.batches.keys import item_job_id
from shared.batches.model import BatchRecord, BatchStatus, Item, ItemFault, Place
from shared.batches.records import Bitmap
from shared.jobs import Job, Status

#: Jobs that are read for one page, whatever the filters let through.
_MOST_READ = 1000
_READ_AT_ONCE = 100
_NO_JOB = ItemFault(code="item_failed", message="No job could be made of it; the manifest of errors says why.")


def page_of_items(
    to: Services, batch: BatchRecord, cursor: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """Give items from the cursor on, and the cursor of the next page.

    Raises:
        PageNotFound: if the cursor is none.
    """
    place = Place() if cursor is None else _decode(cursor)
    if batch.status is BatchStatus.VALIDATING:  # they are being listed
        return [], None
    try:
        rows = list(islice(read_items(to.store, batch.id, place), limit))
    except ValidationError:  # it names a place where no item begins
        raise unknown() from None
    rows = [row for row in rows if row[0].item < batch.counts.total]
    faulty = to.batches.faulty(batch.id)
    ids = {item_job_id(batch.id, here.item): here.item for here, _, _ in rows}
    jobs = {ids[job.manifest.id]: job for job in to.records.get_many(ids)}
    shown = [_view(batch, here.item, item, jobs.get(here.item), faulty) for here, item, _ in rows]
    more = rows and rows[-1][2].item < batch.counts.total
    return [one.model_dump(mode="json") for one in shown], _encode(rows[-1][2]) if more else None


def page_of_jobs(
    to: Services, batch: BatchRecord, *, status: Status | None, created_after: float | None, first: int, limit: int
) -> tuple[list[Job], int | None]:
    """Give the jobs of items from *first* on that the filters let through, and the first item of the next page.

    A page may hold fewer than *limit* and be followed by another: filters look at so many jobs and no more.
    """
    # What a leader has made beyond the next item, it tells within a moment.
    end = min(batch.counts.total, batch.next.item + to.settings.batch_window)
    found: list[Job] = []
    last = min(end, first + _MOST_READ)
    for start in range(first, last, _READ_AT_ONCE):
        numbers = range(start, min(start + _READ_AT_ONCE, last))
        for job in to.records.get_many(item_job_id(batch.id, number) for number in numbers):
            late = created_after is not None and job.manifest.created_at <= created_after
            if job.manifest.batch is None or late or (status and job.status is not status):
                continue
            if len(found) == limit:
                return found, job.manifest.batch.item
            found.append(job)
    return found, last if last < end else None


def _view(batch: BatchRecord, number: int, item: Item, job: Job | None, faulty: Bitmap) -> ItemView:
    shown = ItemView(
        item=number, custom_id=item.custom_id, input=shown_input(item.input), status=None, job_id=None, error=None
    )
    if job is not None:
        error = ItemFault(code=job.error.code, message=job.error.message) if job.error else None
        return shown.model_copy(update={"status": job.status, "job_id": job.manifest.id, "error": error})
    if number in faulty or item.fault:
        return shown.model_copy(update={"status": Status.FAILED, "error": item.fault or _NO_JOB})
    if number < batch.next.item:
        return shown
    stopped = batch.status in (BatchStatus.CANCELING, BatchStatus.CANCELED)
    return shown.model_copy(update={"status": Status.CANCELED if stopped else Status.QUEUED})


def _encode(place: Place) -> str:
    text = json.dumps([place.item, place.segment, place.offset])
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _decode(text: str) -> Place:
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        item, segment, offset = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if any(type(one) is not int or not 0 <= one < 2**40 for one in (item, segment, offset)):
            raise ValueError
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise unknown() from None
    return Place(item=item, segment=segment, offset=offset)
