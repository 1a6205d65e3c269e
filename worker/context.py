"""What a worker process holds while it lives."""

from dataclasses import dataclass, field

from shared.queues import Dispatcher
from shared.records import JobRecords
from shared.settings import Settings
from shared.storage.interface import ObjectStore
from worker.engine import Engine
from worker.plan import Plan


@dataclass
class Context:
    """The open connections and loaded models that every task uses.

    Attributes:
        engine: none in a worker that serves only the stage `audio`.
        plans: plans read lately, by key; a plan never changes once it is written.
    """

    settings: Settings
    records: JobRecords
    store: ObjectStore
    dispatcher: Dispatcher
    engine: Engine | None = None
    plans: dict[str, Plan] = field(default_factory=dict)
