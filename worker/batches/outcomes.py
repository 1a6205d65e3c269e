"""What became of items, written to storage while a batch runs: records of jobs may be deleted before it ends."""

from collections.abc import Iterable, Iterator

from shared.batches.items import read_items
from shared.batches.keys import item_job_id, outcomes_key
from shared.batches.model import ItemFault, ItemResult, Outcome
from shared.jobs import Job, Status
from shared.storage import ObjectStore
from worker.batches.context import Desk

_SEGMENT_LINES = 1000
_READ_AT_ONCE = 100
_ENDED = {
    Status.CANCELED: ItemFault(code="job_canceled", message="The job was canceled."),
    Status.EXPIRED: ItemFault(code="job_expired", message="The job passed its deadline."),
    Status.FAILED: ItemFault(code="job_failed", message="The job failed, and was deleted before its reason was read."),
}


class OutcomeWriter:
    """Writes outcomes of a batch into segments that nobody else touches: a leader that wakes late harms no other's."""

    def __init__(self, store: ObjectStore, batch_id: str, writer: str) -> None:
        self._store = store
        self._batch_id = batch_id
        self._writer = writer
        self._number = 0
        self._lines: list[bytes] = []

    def write(self, outcomes: Iterable[Outcome]) -> None:
        """Append outcomes; they are in storage when this returns.

        Raises:
            StorageError: if they may not be; they may be written again.
        """
        if len(self._lines) >= _SEGMENT_LINES:
            self._number, self._lines = self._number + 1, []
        lines = [*self._lines, *map(line_of, outcomes)]
        key = outcomes_key(self._batch_id, self._writer, self._number)
        self._store.put(key, b"".join(lines), content_type="application/jsonl")
        self._lines = lines


def line_of(outcome: Outcome) -> bytes:
    """Write an outcome as a line of a manifest."""
    return outcome.model_dump_json().encode() + b"\n"


def collect(desk: Desk, batch_id: str, writer: OutcomeWriter, ended: dict[int, str]) -> None:
    """Write what became of these items' jobs, and note that it is written.

    Raises:
        QueueUnavailable, StorageError: it may be done again.
    """
    writer.write(_outcomes(desk, batch_id, ended))
    desk.batches.collected(batch_id, ended)


def _outcomes(desk: Desk, batch_id: str, ended: dict[int, str]) -> Iterator[Outcome]:
    missing = dict(ended)
    items = sorted(ended)
    for start in range(0, len(items), _READ_AT_ONCE):
        some = items[start : start + _READ_AT_ONCE]
        for job in desk.records.get_many(item_job_id(batch_id, item) for item in some):
            if job.manifest.batch is not None:
                missing.pop(job.manifest.batch.item, None)
                yield outcome_of(job)
        desk.still()
    if missing:  # deleted by its owner a moment after it ended: what it was called is in the list
        for place, item, _ in read_items(desk.store, batch_id):
            if place.item in missing:
                state = missing.pop(place.item)
                yield _without_record(batch_id, place.item, item.custom_id, state)
            if not missing:
                return


def outcome_of(job: Job) -> Outcome:
    """Tell what became of a job that is over."""
    batch, job_id = job.manifest.batch, job.manifest.id
    assert batch is not None
    result = None
    if job.status is Status.SUCCEEDED and job.output and job.result_key:
        result = ItemResult(
            url=f"/v1/jobs/{job_id}/result",
            key=job.result_key,
            filename=job.output.filename,
            bytes=job.output.bytes,
            sha256=job.output.sha256,
        )
    error = _ENDED.get(job.status)
    if job.error:
        error = ItemFault(code=job.error.code, message=job.error.message)
    return Outcome(
        item=batch.item, custom_id=batch.custom_id, job_id=job_id, status=job.status, result=result, error=error
    )


def _without_record(batch_id: str, item: int, custom_id: str, state: str) -> Outcome:
    job_id = item_job_id(batch_id, item)
    return Outcome(item=item, custom_id=custom_id, job_id=job_id, status=state, error=_ENDED.get(Status(state)))
