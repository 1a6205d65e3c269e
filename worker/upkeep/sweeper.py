"""Removes what has outlived its time, and what deaths left behind in storage; nothing that is in use.

A thread of every worker process; one of them leads. It waits for storage, so it is none of the reconciler's.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import structlog

from shared.errors import StorageError, StorageUnavailable
from shared.jobs import TERMINAL
from shared.keys import JOBS_PREFIX, job_prefix, manifest_key, receipts_prefix, results_prefix, work_prefix
from shared.records import Repairs
from shared.recovery import Found, Recovery
from shared.storage.folders import folders
from worker.batches.sweep import BatchSweeper
from worker.context import Context
from worker.upkeep.leading import Lead, LeadingThread
from worker.upkeep.tidying import SETTLED_LEASES, tidy_objects
from worker.upkeep.uploads import sweep_expired, sweep_unknown, unfinished_age

log = structlog.get_logger()

_ROLE = "sweeper"
_LOOK_SECONDS = 3.0
_LEAD_SECONDS = 10.0
_DAY = 86_400.0
#: Uploads that were begun and never finished stay so much longer than objects without a job: one may take hours.
_UPLOADS_LONGER = 24
_BATCH = 100
#: What could not be done with a job is tried again so much later.
_LATER_SECONDS = 60.0
#: Storage that cannot be reached so often in a row is away: each of a hundred jobs would wait for it.
_AWAY_IN_A_ROW = 3


@dataclass(frozen=True)
class _Folder:
    """What storage holds of one job."""

    job_id: str
    keys: frozenset[str]
    youngest: float


class Sweeper:
    """Looks every few seconds, if it leads."""

    def __init__(self, ctx: Context, repairs: Repairs) -> None:
        self._ctx = ctx
        self._recovery = Recovery(ctx.store, ctx.records, ctx.retention, ctx.dispatcher)
        self._lead = Lead(repairs, _ROLE, seconds=_LEAD_SECONDS)
        self._batches = BatchSweeper(ctx, self._each, self._lead.keep)
        self._unknown: set[str] = set()
        self._later: dict[str, float] = {}
        self._thread = LeadingThread(self._lead, self.look, every=_LOOK_SECONDS)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; what is being deleted now is not waited for."""
        self._thread.stop(wait=False)

    def look(self) -> None:
        """Do what is due now.

        Raises:
            QueueUnavailable, StorageError: if Redis or storage cannot be used; the next look goes on.
        """
        now = self._ctx.records.now()
        self._tidy(now)
        self._sink(now)
        self._retire(now)
        sweep_expired(self._ctx, now, self._lead.keep)
        self._batches.look(now, settled=SETTLED_LEASES * self._ctx.settings.lease_seconds)
        orphan_seconds = self._ctx.settings.orphan_seconds
        if self._ctx.retention.turn("orphans", every=orphan_seconds / 4):
            self.sweep_orphans(now)
            self._batches.sweep_orphans(now)
            sweep_unknown(self._ctx, now)
            self._ctx.store.sweep(unfinished_age(self._ctx, orphan_seconds * _UPLOADS_LONGER))

    def sweep_orphans(self, now: float) -> None:
        """Look through all of storage for objects that nobody looks after.

        What has no record is touched at the second pass that finds it so: it may be about to get one.
        """
        folders = self._folders()
        before, self._unknown = self._unknown, set()
        while batch := list(islice(folders, _BATCH)):
            known = self._ctx.records.known(folder.job_id for folder in batch)
            for folder in batch:
                self._lead.keep()
                if now - folder.youngest < self._ctx.settings.orphan_seconds:
                    continue
                if folder.job_id in known:
                    self._sweep_leftovers(folder)
                elif folder.job_id in before:
                    self._sweep_unknown(folder)
                else:
                    self._unknown.add(folder.job_id)

    def _tidy(self, now: float) -> None:
        self._each(self._ctx.retention.untidy(now=now), lambda job_id: tidy_objects(self._ctx, job_id))

    def _sink(self, now: float) -> None:
        """Delete once more what belonged to removed jobs: a worker may have written after the removal."""

        def sink(job_id: str) -> None:
            if not self._ctx.records.known([job_id]):
                self._ctx.store.delete_prefix(job_prefix(job_id))
            self._ctx.retention.sunk(job_id)

        settled = now - SETTLED_LEASES * self._ctx.settings.lease_seconds
        self._each(self._ctx.retention.gone_until(settled), sink)

    def _retire(self, now: float) -> None:
        """Let recordings, results, records and events go whose time is over."""
        settings, retention = self._ctx.settings, self._ctx.retention

        def retire(job_id: str) -> None:
            self._ctx.store.delete_prefix(job_prefix(job_id))
            retention.swept(job_id)
            log.info("objects of a job have outlived their time", job_id=job_id)

        if settings.keep_results_days:
            self._each(retention.stored_until(now - settings.keep_results_days * _DAY), retire)
        if settings.keep_records_days:
            before = now - settings.keep_records_days * _DAY
            for job_id in retention.ended_until(before):
                self._ctx.records.remove(job_id)
            retention.forget_events(before=before)

    def _each(self, job_ids: Iterable[str], act: Callable[[str], None]) -> None:
        """Do something with each job. One that cannot be dealt with holds up no other, and comes again later.

        Raises:
            StorageError: if it cannot be done with several in a row: it is not they.
        """
        now = time.monotonic()
        self._later = {job_id: until for job_id, until in self._later.items() if until > now}
        in_a_row = 0
        for job_id in islice((job_id for job_id in job_ids if job_id not in self._later), _BATCH):
            self._lead.keep()
            try:
                act(job_id)
                in_a_row = 0
            except (StorageError, ValueError) as error:
                reason = error.message if isinstance(error, StorageError) else type(error).__name__
                log.warning("a job is left for later", job_id=job_id, reason=reason)
                in_a_row += 1
                if isinstance(error, StorageUnavailable) and in_a_row >= _AWAY_IN_A_ROW:
                    raise
                self._later[job_id] = now + _LATER_SECONDS

    def _sweep_leftovers(self, folder: _Folder) -> None:
        """A worker wrote after its job was over, and died before it could take that back."""
        job_id = folder.job_id
        late = any(key.startswith(work_prefix(job_id)) for key in folder.keys)
        for prefix in (results_prefix(job_id), receipts_prefix(job_id)):
            late = late or sum(key.startswith(prefix) for key in folder.keys) > 1
        if late and self._ctx.records.state(job_id) in TERMINAL:
            tidy_objects(self._ctx, job_id)

    def _sweep_unknown(self, folder: _Folder) -> None:
        """There is no record: the job was removed, or not accepted; or it was, and its record is lost."""
        job_id = folder.job_id
        removed = self._ctx.retention.is_gone(job_id)
        if not removed and manifest_key(job_id) in folder.keys:
            found = self._recovery.adopt(job_id)
            log.warning("a job without a record was found in storage", job_id=job_id, now=str(found))
            if found is not Found.NO_JOB:
                return
        self._ctx.store.delete_prefix(job_prefix(job_id))
        log.info("objects without a job deleted", job_id=job_id, objects=len(folder.keys))

    def _folders(self) -> Iterator[_Folder]:
        for job_id, infos in folders(self._ctx.store, JOBS_PREFIX):
            objects = list(infos)
            youngest = max(info.modified.timestamp() for info in objects)
            yield _Folder(job_id, frozenset(info.key for info in objects), youngest)
