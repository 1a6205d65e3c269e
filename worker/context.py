"""What a worker process holds while it lives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.batches.records import BatchRecords
from shared.catalog import Catalog
from shared.outgoing import Outgoing
from shared.queues import Dispatcher
from shared.records import JobRecords, Retention
from shared.settings import Settings
from shared.storage.interface import ObjectStore
from worker.attempts.company import Company
from worker.attempts.leases import Leases
from worker.handover import Handover

if TYPE_CHECKING:  # a worker for audio alone never loads torch
    from worker.engine import Engine


@dataclass
class Context:
    """The open connections and loaded models that every task uses.

    Attributes:
        leases: what this process has in hand.
        catalog: the models of the service, of which this process may serve some.
        engine: none in a worker that serves only the stage `audio`.
        mels: those that this process restored last; none in a worker that does not serve both stages.
        company: who may be at work beside whom.
        outgoing: calls the URLs that callers named.
    """

    settings: Settings
    records: JobRecords
    retention: Retention
    batches: BatchRecords
    store: ObjectStore
    dispatcher: Dispatcher
    leases: Leases
    catalog: Catalog
    engine: Engine | None = None
    mels: Handover | None = None
    company: Company = field(default_factory=Company)
    outgoing: Outgoing = field(default_factory=Outgoing)
