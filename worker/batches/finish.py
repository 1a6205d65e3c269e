"""The end of a batch: two manifests, and a state that says so."""

from shared.batches.items import read_items
from shared.batches.keys import draft_key, end_key, errors_key, item_job_id, outcomes_prefix, output_key
from shared.batches.model import BatchEnd, BatchRecord, BatchStatus, ItemFault, Outcome
from shared.batches.records import Bitmap
from shared.batches.recovery import read_outcomes
from shared.jobs import TERMINAL
from shared.storage import ObjectWriter
from worker.batches.context import Desk
from worker.batches.outcomes import line_of, outcome_of

_LOOK_EVERY = 500
_CANCELED = ItemFault(code="batch_canceled", message="The batch was canceled before this item's turn.")
_LOST = ItemFault(
    code="outcome_lost", message="What became of this item is not known any more; its job was deleted meanwhile."
)


def finish(desk: Desk, record: BatchRecord) -> bool:
    """Write the manifests of a batch whose jobs are all over and collected, and end it.

    False if something has come up meanwhile. It may be done again: what is written is the same.

    Raises:
        QueueUnavailable, StorageError: it is to be done again.
    """
    with (
        desk.store.writer(output_key(record.id), content_type="application/jsonl") as output,
        desk.store.writer(errors_key(record.id), content_type="application/jsonl") as errors,
    ):
        _write(desk, record, output, errors)
        output.commit()
        errors.commit()
    if not desk.batches.end(record.id):
        return False
    settle(desk, record.id)
    return True


def settle(desk: Desk, batch_id: str) -> None:
    """Write how a batch ended, and let go of what was needed until then."""
    record = desk.batches.get(batch_id)
    if record is None or record.completed_at is None:
        return
    end = BatchEnd(
        status=record.status,
        started_at=record.started_at,
        completed_at=record.completed_at,
        counts=record.counts,
        expanded=record.next.item,
        error=record.error,
    )
    desk.store.put(end_key(batch_id), end.model_dump_json().encode(), content_type="application/json")
    desk.store.delete_prefix(outcomes_prefix(batch_id))
    desk.store.delete(draft_key(batch_id))


def _write(desk: Desk, record: BatchRecord, output: ObjectWriter, errors: ObjectWriter) -> None:
    seen, count = Bitmap(), 0
    for outcome in read_outcomes(desk.store, record.id):
        if not seen.add(outcome.item):
            continue
        count += 1
        (output if outcome.status == "succeeded" else errors).write(line_of(outcome))
        if count % _LOOK_EVERY == 0:
            desk.still()
    if count == record.counts.total:
        return
    for place, item, _ in read_items(desk.store, record.id):
        if place.item >= record.counts.total:
            return
        if place.item not in seen:
            outcome = _unwritten(desk, record, place.item, item.custom_id)
            (output if outcome.status == "succeeded" else errors).write(line_of(outcome))
        if place.item % _LOOK_EVERY == 0:
            desk.still()


def _unwritten(desk: Desk, record: BatchRecord, item: int, custom_id: str) -> Outcome:
    """Of an item that was never a job, because the batch was canceled, there is no outcome."""
    if item < record.next.item + desk.settings.batch_window:
        job = desk.records.get(item_job_id(record.id, item))
        if job is not None and job.status in TERMINAL and job.manifest.batch:
            return outcome_of(job)
    if record.status is BatchStatus.CANCELING:
        return Outcome(item=item, custom_id=custom_id, status="canceled", error=_CANCELED)
    return Outcome(item=item, custom_id=custom_id, status="failed", error=_LOST)
