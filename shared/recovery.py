"""Records made anew from what storage holds of a job: the manifest, and how it ended if it has."""

from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum

from shared.errors import QueueUnavailable
from shared.jobs import Ending, Manifest
from shared.keys import JOBS_PREFIX, ending_key, manifest_key
from shared.queues import Dispatcher
from shared.records import JobRecords, Retention
from shared.storage import ObjectStore
from shared.storage.folders import folders, read_model


class Found(StrEnum):
    """What became of a job found in storage."""

    #: Its record is there.
    KNOWN = "known"
    #: It was not over: it begins again.
    BEGUN = "begun"
    #: It was over: its record says so again.
    REBUILT = "rebuilt"
    #: It was removed, or never accepted: there is no manifest, or none that can be read.
    NO_JOB = "no_job"


class Recovery:
    """Brings jobs back whose records are lost.

    Raises:
        QueueUnavailable: from `adopt`, if Redis cannot be used.
        StorageError: the same for storage.
    """

    def __init__(self, store: ObjectStore, records: JobRecords, retention: Retention, dispatcher: Dispatcher) -> None:
        self._store = store
        self._records = records
        self._retention = retention
        self._dispatcher = dispatcher

    def all(self) -> Iterator[tuple[str, Found]]:
        """Go through all jobs in storage; gives what became of each.

        Raises:
            QueueUnavailable, StorageError: it may be done again; what was brought back stays.
        """
        for job_id in jobs_in(self._store):
            if self._records.known([job_id]):
                yield job_id, Found.KNOWN
            else:
                yield job_id, Found.NO_JOB if self._retention.is_gone(job_id) else self.adopt(job_id)

    def adopt(self, job_id: str) -> Found:
        """Make the record of a job that has none."""
        manifest = read_model(self._store, manifest_key(job_id), Manifest)
        if manifest is None or manifest.id != job_id:
            return Found.NO_JOB
        ending = read_model(self._store, ending_key(job_id), Ending)
        if ending is not None:
            return Found.REBUILT if self._retention.rebuild(manifest, ending) else Found.KNOWN
        word, messages = self._records.create(manifest)
        if word == "over":  # of a batch that was canceled before it was taken in
            return Found.NO_JOB
        if word == "known" and not self._records.known([job_id]):
            # Another request of the same name made a job. Which was accepted is not known: rather both than neither.
            word, messages = self._records.create(manifest.model_copy(update={"name": None}))
        with suppress(QueueUnavailable):  # the reconciler sends them then
            self._dispatcher.send(messages)
        return Found.BEGUN if word == "created" else Found.KNOWN


def jobs_in(store: ObjectStore) -> Iterator[str]:
    """Give the ids of the jobs that have objects."""
    for job_id, _ in folders(store, JOBS_PREFIX):
        yield job_id
