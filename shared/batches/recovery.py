"""Batches brought back from storage when Redis is lost: their jobs' ids are derived, so that nothing is made twice."""

from collections.abc import Iterator

from shared.batches.items import lines_of, read_items
from shared.batches.keys import (
    BATCHES_PREFIX,
    batch_key,
    cancel_key,
    closed_key,
    end_key,
    item_job_id,
    items_key,
    outcomes_prefix,
)
from shared.batches.model import BatchEnd, BatchManifest, Outcome
from shared.batches.names import digest
from shared.batches.records import BatchRecords
from shared.storage import ObjectStore
from shared.storage.folders import folders, read_model

_COUNTED = {"succeeded": "succeeded", "canceled": "canceled"}
#: Outcomes that are counted in one go.
_STEP = 500
_NAMES = 500


class BatchRecovery:
    """Brings batches back whose records are lost.

    Raises:
        QueueUnavailable: from any method, if Redis cannot be used.
        StorageError: the same for storage.
    """

    def __init__(self, store: ObjectStore, records: BatchRecords) -> None:
        self._store = store
        self._records = records

    def all(self) -> Iterator[str]:
        """Go through all batches in storage, after their jobs; gives the ids of those that are back."""
        for batch_id, _ in folders(self._store, BATCHES_PREFIX):
            if not self._records.known([batch_id]) and not self._records.is_gone(batch_id) and self.adopt(batch_id):
                yield batch_id

    def adopt(self, batch_id: str) -> bool:
        """Make the record of a batch that has none; False if it was never accepted.

        Its items are looked at again from the first on: those with an outcome in storage are not made again, and jobs
        that are there are counted as they are.
        """
        manifest = read_model(self._store, batch_key(batch_id), BatchManifest)
        if manifest is None or manifest.id != batch_id:
            return False
        end = read_model(self._store, end_key(batch_id), BatchEnd)
        if end is not None:
            self._records.rebuild(manifest, end)
            return True
        if manifest.open:
            self._adopt_open(manifest)
        else:
            self._records.create(manifest)
            if manifest.prefix is not None and self._there(items_key(batch_id, 0)):
                # What came under the prefix since then is none of the batch's.
                self._records.listed(batch_id, sum(1 for _ in read_items(self._store, batch_id)))
        self._count(batch_id)
        if self._there(cancel_key(batch_id)):
            self._adopt_jobs(batch_id)
            self._records.cancel(batch_id)
        return True

    def _adopt_jobs(self, batch_id: str) -> None:
        """Count the jobs that are there already: no leader looks for them where no more are made."""
        for place, _, _ in read_items(self._store, batch_id):
            self._records.adopt(batch_id, item_job_id(batch_id, place.item), place.item)

    def _adopt_open(self, manifest: BatchManifest) -> None:
        self._records.create(manifest)
        total, names = manifest.total, list[str]()
        for _, item, following in read_items(self._store, manifest.id):
            names.append(digest(item.custom_id))
            if len(names) == _NAMES:
                self._records.grow(manifest.id, total, names)
                total, names = following.item, []
        self._records.grow(manifest.id, total, names)
        if self._there(closed_key(manifest.id)):
            self._records.close(manifest.id)

    def _count(self, batch_id: str) -> None:
        found: dict[str, list[int]] = {}
        for outcome in read_outcomes(self._store, batch_id):
            if outcome.job_id is None:
                self._records.fault(batch_id, outcome.item)
                continue
            state = _COUNTED.get(outcome.status, "failed")
            some = found.setdefault(state, [])
            some.append(outcome.item)
            if len(some) == _STEP:
                self._records.count(batch_id, state, some)
                some.clear()
        for state, some in found.items():
            self._records.count(batch_id, state, some)

    def _there(self, key: str) -> bool:
        return next(self._store.list(key, limit=1), None) is not None


def read_outcomes(store: ObjectStore, batch_id: str) -> Iterator[Outcome]:
    """Give what became of items so far; an item may come twice, with the same outcome."""
    for info in store.list(outcomes_prefix(batch_id)):
        for line in lines_of(store.stream(info.key)):
            yield Outcome.model_validate_json(line)
