"""Leads all batches: makes jobs of their items, gathers what became of those, and ends what is done.

A thread of every worker process; one of them leads. Should it die, another goes on: what was begun is done again, and
done twice is done once, because the ids of jobs are derived from batch and item.
"""

import time
import uuid
from dataclasses import replace

import structlog

from shared.batches.keys import item_job_id
from shared.batches.model import BatchRecord, BatchStatus
from shared.errors import QueueUnavailable, ServiceError
from shared.records import Repairs
from worker.batches.context import Desk
from worker.batches.expand import expand
from worker.batches.finish import finish, settle
from worker.batches.listing import list_items
from worker.batches.outcomes import OutcomeWriter, collect
from worker.upkeep.leading import Lead, LeadingThread, LeadLost

log = structlog.get_logger()

_ROLE = "batches"
_LOOK_SECONDS = 0.5
_LEAD_SECONDS = 3.0
#: What is over waits so long for company before it is written down.
_COLLECT_SECONDS = 15.0


class BatchLeader:
    """Looks twice a second, if it leads."""

    def __init__(self, desk: Desk, repairs: Repairs) -> None:
        """Work with *desk*; its `still` is the leader's own."""
        self.lead = Lead(repairs, _ROLE, seconds=_LEAD_SECONDS)
        self._desk = replace(desk, still=self.lead.keep)
        self._writers: dict[str, OutcomeWriter] = {}
        self._waiting: dict[str, float] = {}
        self._thread = LeadingThread(self.lead, self.look, every=_LOOK_SECONDS, idle=lambda: self._forget(set()))

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; what is being written now is not waited for."""
        self._thread.stop(wait=False)

    def look(self) -> None:
        """Give every batch its turn, once.

        Raises:
            QueueUnavailable: if Redis cannot be used; the next look goes on.
            LeadLost: if another leads now, or the process is to end.
        """
        under_way = self._desk.batches.under_way()
        self._forget({record.id for record in under_way})
        for record in under_way:
            try:
                self._serve(record)
            except (QueueUnavailable, LeadLost):
                raise
            except ServiceError as error:  # the others go on
                log.warning("a batch waits", batch_id=record.id, reason=error.message)
            self.lead.keep()

    def _serve(self, record: BatchRecord) -> None:
        if record.status is BatchStatus.VALIDATING:
            self._validate(record)
            return
        if record.status is BatchStatus.CANCELING:
            for item in self._desk.batches.jobs(record.id):
                self._desk.records.cancel(item_job_id(record.id, item))
                self.lead.keep()
        else:
            expand(self._desk, record, self._writer(record.id))
        self._gather(record.id)

    def _gather(self, batch_id: str) -> None:
        """Write down what is over, and end the batch if all of it is."""
        record = self._desk.batches.get(batch_id)
        ended = self._desk.batches.ended(batch_id)
        if record is None:
            return
        canceling = record.status is BatchStatus.CANCELING
        done = record.status is BatchStatus.PROCESSING and record.next.item >= record.counts.total
        last = not record.under_way and (canceling or done)
        if ended and (last or len(ended) >= self._desk.settings.batch_window or self._waited(batch_id)):
            collect(self._desk, batch_id, self._writer(batch_id), ended)
            self._waiting.pop(batch_id, None)
        if last and finish(self._desk, record):
            log.info("batch over", batch_id=batch_id, **record.counts.model_dump())

    def _validate(self, record: BatchRecord) -> None:
        fault = list_items(self._desk, record.id, record.manifest.prefix or "")
        if fault is not None and self._desk.batches.fail(record.id, fault):
            settle(self._desk, record.id)
            log.info("batch failed", batch_id=record.id, code=fault.code)

    def _waited(self, batch_id: str) -> bool:
        return time.monotonic() - self._waiting.setdefault(batch_id, time.monotonic()) >= _COLLECT_SECONDS

    def _writer(self, batch_id: str) -> OutcomeWriter:
        # Of one leader's term: an id of its own, so that it never meets what another wrote.
        return self._writers.setdefault(batch_id, OutcomeWriter(self._desk.store, batch_id, uuid.uuid4().hex))

    def _forget(self, under_way: set[str]) -> None:
        for kept in (self._writers, self._waiting):
            for batch_id in kept.keys() - under_way:
                del kept[batch_id]
