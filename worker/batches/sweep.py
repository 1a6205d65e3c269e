"""Batches that have outlived their time, and what deaths left of batches in storage."""

from collections.abc import Callable, Iterable, Iterator

import structlog

from shared.batches.keys import BATCHES_PREFIX, batch_key, batch_prefix
from shared.batches.recovery import BatchRecovery
from shared.storage.folders import folders
from worker.context import Context

log = structlog.get_logger()

_DAY = 86_400.0

Each = Callable[[Iterable[str], Callable[[str], None]], None]


class BatchSweeper:
    """The sweeper's part that looks after batches."""

    def __init__(self, ctx: Context, each: Each, keep_lead: Callable[[], None]) -> None:
        """Sweep; *each* does something with each of some ids, *keep_lead* is called now and then."""
        self._ctx = ctx
        self._batches = ctx.batches
        self._recovery = BatchRecovery(ctx.store, ctx.batches)
        self._each = each
        self._keep_lead = keep_lead
        self._unknown: set[str] = set()

    def look(self, now: float, *, settled: float) -> None:
        """Let batches go whose time is over; of removed ones nobody writes any more after so many seconds.

        Raises:
            QueueUnavailable, StorageError: the next look goes on.
        """
        self._each(self._batches.gone_until(now - settled), self._sink)
        if keep := self._ctx.settings.keep_records_days:
            self._each(self._batches.over_until(now - keep * _DAY), self._retire)

    def _sink(self, batch_id: str) -> None:
        self._ctx.store.delete_prefix(batch_prefix(batch_id))
        self._batches.sunk(batch_id)

    def _retire(self, batch_id: str) -> None:
        self._ctx.store.delete_prefix(batch_prefix(batch_id))
        self._batches.remove(batch_id)
        log.info("a batch has outlived its time", batch_id=batch_id)

    def sweep_orphans(self, now: float) -> None:
        """Look through storage for batches without a record: the second time one is found so, it is seen to."""
        before, self._unknown = self._unknown, set()
        for batch_id, accepted, youngest in self._folders():
            self._keep_lead()
            if now - youngest < self._ctx.settings.orphan_seconds or self._batches.known([batch_id]):
                continue
            if batch_id not in before:
                self._unknown.add(batch_id)
                continue
            removed = self._batches.is_gone(batch_id)
            if not removed and accepted and self._recovery.adopt(batch_id):
                log.warning("a batch without a record was found in storage", batch_id=batch_id)
                continue
            self._ctx.store.delete_prefix(batch_prefix(batch_id))
            log.info("objects without a batch deleted", batch_id=batch_id)

    def _folders(self) -> Iterator[tuple[str, bool, float]]:
        """Give for each batch that with objects whether its manifest is among them, and when the youngest was made."""
        for batch_id, group in folders(self._ctx.store, BATCHES_PREFIX):
            accepted, youngest = False, 0.0
            for info in group:
                accepted = accepted or info.key == batch_key(batch_id)
                youngest = max(youngest, info.modified.timestamp())
            yield batch_id, accepted, youngest
