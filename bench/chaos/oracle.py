"""What has become of the jobs, and what is left that should not be: read from the real servers, past the proxies."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import redis

from bench.chaos.clients import Door
from bench.chaos.recordings import kind_of
from shared.jobs import LOCAL, TERMINAL, Status
from shared.keys import ending_key, manifest_key, receipts_prefix, results_prefix, source_key
from shared.records import JobRecords
from shared.storage import ObjectStore

#: Keys that are there as long as the service is, or go by themselves.
_LASTING = (
    "stored",
    "ended",
    "endpoints",
    "events",
    "stats",
    "seq",
    "seen",
    "labels",
    "pulse",
    "amnesty",
    "unacked_mutex",
)
_LASTING_KINDS = ("workers:", "lead:", "turn:", "_kombu.binding")
#: Parts of a job's record that stay when it is over.
_KEPT_PARTS = ("", ":doc")


@dataclass(frozen=True)
class Outcome:
    """
    What has become of a job.

    Attributes:
        kind: its kind's name; empty if the record is gone
        status: its state; None if the record is gone
        error: code and cause of a failure
        endings: how often it came into a state that is final
        results: objects that are results of it
        sha256: of the result as the API gives it; empty if it gives none

    """

    job_id: str
    kind: str = ""
    status: Status | None = None
    error: str = ""
    endings: int = 0
    results: int = 0
    sha256: str = ""

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status in TERMINAL


class Oracle:
    """Looks at records and objects."""

    def __init__(self, client: redis.Redis, prefix: str, store: ObjectStore) -> None:
        self._redis = client
        self._prefix = prefix
        self._store = store
        self._records = JobRecords(client, prefix=prefix)

    def job_ids(self) -> set[str]:
        """All jobs that have a record."""
        return {job_id for state in Status for job_id in self._in_state(state)}

    def unfinished(self) -> set[str]:
        """Those of them that are not over."""
        return {job_id for state in Status if state not in TERMINAL for job_id in self._in_state(state)}

    def outcomes(self, job_ids: Iterable[str], door: Door) -> list[Outcome]:
        """Look at each job, and fetch its result."""
        endings = self._endings()
        found = []
        for job_id in job_ids:
            job = self._records.get(job_id)
            if job is None:
                found.append(Outcome(job_id))
                continue
            error = " ".join(filter(None, (job.error.code, job.error.cause or job.error.message))) if job.error else ""
            kind, results = kind_of(job.manifest.options.metadata), len(list(self._store.list(results_prefix(job_id))))
            sha = sha256_of(door, job_id) if job.status is Status.SUCCEEDED else ""
            found.append(Outcome(job_id, kind, job.status, error, endings[job_id], results, sha))
        return found

    def stats(self) -> dict[str, int]:
        """The service's own counters."""
        counters = cast(dict[str, str], self._redis.hgetall(f"{self._prefix}stats"))
        return {name: int(value) for name, value in counters.items()}

    def leftovers(self) -> list[str]:
        """Keys and objects that nothing explains, now."""
        jobs = self.job_ids()
        keys = cast(list[str], list(self._redis.scan_iter(count=1000)))
        left = unexplained_keys(keys, jobs, self._prefix)
        return left + unexplained_objects((info.key for info in self._store.list()), jobs)

    def _in_state(self, state: Status) -> list[str]:
        return cast(list[str], self._redis.zrange(f"{self._prefix}jobs:{LOCAL}:{state}", 0, -1))

    def _endings(self) -> Counter[str]:
        rows = cast(list[tuple[str, Mapping[str, str]]], self._redis.xrange(f"{self._prefix}events"))
        return Counter(fields["id"] for _, fields in rows if fields["status"] in TERMINAL)


def sha256_of(door: Door, job_id: str) -> str:
    """Fetch a result; empty if there is none."""
    status, body = door.insist("GET", f"/v1/jobs/{job_id}/result")
    return hashlib.sha256(body).hexdigest() if status == 200 else ""


def unexplained_keys(keys: Iterable[str], jobs: set[str], prefix: str) -> list[str]:
    """Keys of Redis that a service without unfinished work has no reason for."""
    explained = {f"{prefix}job:{{{job_id}}}{part}" for job_id in jobs for part in _KEPT_PARTS}
    explained |= {f"{prefix}{name}" for name in _LASTING} | {f"{prefix}jobs:{LOCAL}:{status}" for status in TERMINAL}
    lasting = tuple(f"{prefix}{kind}" for kind in _LASTING_KINDS)
    return sorted(key for key in keys if key not in explained and not key.startswith(lasting))


def unexplained_objects(keys: Iterable[str], jobs: set[str]) -> list[str]:
    """Objects that belong to no job, or only to its work."""
    explained = {key(job_id) for job_id in jobs for key in (source_key, manifest_key, ending_key)}
    kept = {prefix(job_id) for job_id in jobs for prefix in (results_prefix, receipts_prefix)}
    return sorted(key for key in keys if key not in explained and not _of_an_attempt(key, kept))


def _of_an_attempt(key: str, prefixes: set[str]) -> bool:
    head, _, attempt = key.removesuffix(".json").rpartition(".")
    return f"{head}." in prefixes and attempt.isdigit()
