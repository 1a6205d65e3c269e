"""One file on its way: is it done already? Otherwise its sha256, its job, its result, its line in the manifest."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from cli.archive.attempts import job_name, may_pass
from cli.archive.errors import ArchiveError, FileTrouble, Trouble
from cli.archive.manifest import Entry, Manifest, Stamp
from cli.archive.order import Order
from cli.archive.outcome import Outcome
from cli.archive.placing import Shelf, write_beside
from cli.archive.recording import Recording, opened
from cli.archive.service import Service, Stop
from cli.archive.walk import Found
from cli.client import Document
from cli.progress import Watcher

_MOST_LOST_RESULTS = 3


@dataclass(frozen=True)
class Tools:
    """
    What every file is handled with.

    Attributes:
        service: None if an earlier look found nothing to do
        forget: delete jobs that are done from the server, which is our own

    """

    order: Order
    manifest: Manifest
    shelf: Shelf
    stop: Stop
    service: Service | None
    forget: bool = False


class Task:
    """One file, handled by the thread that calls `run`."""

    def __init__(self, tools: Tools, found: Found, watch: Callable[[str], Watcher]) -> None:
        self._tools = tools
        self._order = tools.order
        self._found = found
        self._watch = watch
        self._began = time.monotonic()
        self._attempt = 1
        self._job_id: str | None = None
        self._source: Stamp | None = None

    def run(self) -> Outcome:
        """Handle it; what becomes of it is in the manifest then.

        Raises:
            Stopped: if the run ends meanwhile; nothing is written down then.
            CommandError: if no file can be handled any more.
        """
        last = self._tools.manifest.last(self._found.path)
        if last is not None and self._is_settled(last, self._found):
            return self._as_before(last)
        try:
            return self._restore(last)
        except FileTrouble as trouble:
            return self._failed(trouble.code, trouble.message)

    def _restore(self, last: Entry | None) -> Outcome:
        watcher: Watcher | None = None
        try:
            with opened(self._order.source / self._found.path, self._tools.stop.check) as recording:
                self._source = recording.stamp
                if last is not None and last.source.sha256 == recording.stamp.sha256:
                    if self._is_settled(last, None):
                        return self._as_before(self._noted(last, recording.stamp))
                    if last.options == self._order.digest:
                        self._attempt = last.attempt + (last.status == "failed")
                watcher = self._watch(self._found.path)
                job = self._succeeding_job(recording, watcher)
            if job.get("status") != "succeeded":
                return self._failed(*_error_of(job))
            return self._finish(job, watcher)
        except OSError as error:  # of the recording: those of the result are told apart where it is written
            reason = error.strerror or type(error).__name__
            raise FileTrouble(Trouble.SOURCE_UNREADABLE, f"This file cannot be read: {reason}.") from None
        finally:
            if watcher is not None:
                watcher.ended("")

    def _is_settled(self, last: Entry, found: Found | None) -> bool:
        """Whether nothing is left to do for a recording that is what it was (by size and time, if *found* is given)."""
        verify = self._order.verify
        if last.options != self._order.digest:
            return False
        if found is not None and (verify or not last.source.looks_like(found.size, found.mtime_ns)):
            return False
        if last.status == "failed":
            return last.error is not None and not may_pass(last.error.get("code", ""))
        if last.output is None or last.result is None:
            return False
        return self._tools.shelf.holds(last.output, last.result, verify=verify, go_on=self._tools.stop.check)

    def _noted(self, last: Entry, source: Stamp) -> Entry:
        """Note a new time of an equal recording, so that it need not be read the next time."""
        if not last.source.looks_like(source.size, source.mtime_ns):
            last = replace(last, source=source)
            self._tools.manifest.append(last)
        return last

    def _succeeding_job(self, recording: Recording, watcher: Watcher) -> Document:
        """Give the job of the recording once it is over. One that an earlier run has left is found, not made again."""
        for _ in range(_MOST_LOST_RESULTS):
            job, known = self._job(recording, watcher)
            recording.check()
            job = self._service.wait(job, watcher.told)
            if not (known and job["status"] == "succeeded" and self._is_lost(job)):
                return job
            self._attempt += 1
        raise FileTrouble(Trouble.RESULT_GONE, "The results of its jobs are deleted before they can be fetched.")

    def _job(self, recording: Recording, watcher: Watcher) -> tuple[Document, bool]:
        """Find or make the job, and tell whether it was there.

        One that came to nothing gets a successor, unless it would fare no better.
        """
        while True:
            name = job_name(
                self._tools.manifest.id,
                self._found.path,
                str(recording.stamp.sha256),
                self._order.digest,
                self._attempt,
            )
            job = self._service.find(name) if self._tools.manifest.resumed else None
            known = job is not None
            if job is None:
                job, known = self._service.put(name, recording, self._order.fields, watcher.sent)
            self._job_id = str(job["id"])
            came_to_nothing = job["status"] in ("failed", "canceled", "expired")
            if not (known and came_to_nothing and may_pass(_error_of(job)[0])):
                return job, known
            self._attempt += 1

    def _is_lost(self, job: Document) -> bool:
        return not self._service.has_result(job)

    def _finish(self, job: Document, watcher: Watcher) -> Outcome:
        assert self._source is not None
        tools = self._tools
        output = f"{self._found.stem}.{_extension(job)}"
        watcher.told({**job, "status": "download"})
        with tools.shelf.part(self._found.stem, self._found.path) as part:
            fetched = self._service.fetch(job, part)
            result = tools.shelf.place(part, output, self._found.path, fetched.sha256, tools.stop.check)
        if self._order.receipts and (receipt := self._service.receipt(job)) is not None:
            place = self._order.target / f"{output}.receipt.json"
            write_beside(place, json.dumps(receipt, indent=2).encode() + b"\n")
        entry = Entry(
            path=self._found.path,
            status="restored",
            options=self._order.digest,
            source=self._source,
            attempt=self._attempt,
            output=output,
            result=result,
            job_id=self._job_id,
            models=list(job.get("models") or []),
            needs_review=(job.get("output") or {}).get("needs_review"),
        )
        tools.manifest.append(entry)
        if tools.forget:
            self._service.forget(job)
        return self._outcome(entry, "restored")

    def _failed(self, code: str, message: str) -> Outcome:
        source = self._source or Stamp(self._found.size, self._found.mtime_ns)
        entry = Entry(
            path=self._found.path,
            status="failed",
            options=self._order.digest,
            source=source,
            attempt=self._attempt,
            error={"code": str(code), "message": message},
            job_id=self._job_id,
        )
        self._tools.manifest.append(entry)
        return self._outcome(entry, "failed")

    def _as_before(self, last: Entry) -> Outcome:
        return replace(self._outcome(last, "failed" if last.status == "failed" else "unchanged"), earlier=True)

    def _outcome(self, entry: Entry, status: Any) -> Outcome:
        return Outcome(
            path=entry.path,
            status=status,
            output=entry.output,
            error=entry.error,
            sha256_in=entry.source.sha256,
            sha256_out=entry.result.sha256 if entry.result else None,
            bytes=entry.source.size,
            seconds=round(time.monotonic() - self._began, 3),
            attempt=entry.attempt,
            job_id=entry.job_id,
            models=entry.models,
            needs_review=entry.needs_review,
        )

    @property
    def _service(self) -> Service:
        if self._tools.service is None:
            raise ArchiveError("Files have changed since this run looked at them. Run it again, with --resume.")
        return self._tools.service


def is_settled(tools: Tools, found: Found) -> bool:
    """Whether an earlier run has left nothing to do for a file, as far as sizes and times tell."""
    last = tools.manifest.last(found.path)
    return last is not None and Task(tools, found, _nobody)._is_settled(last, found)


def _nobody(_: str) -> Watcher:
    raise AssertionError("a look watches nothing")


def _error_of(job: Document) -> tuple[str, str]:
    error = job.get("error") or {}
    code = str(error.get("code") or f"job_{job.get('status')}")
    return code, str(error.get("message") or f"The job was {job.get('status')}.")


def _extension(job: Document) -> str:
    filename = str((job.get("output") or {}).get("filename", ""))
    return PurePath(filename).suffix.removeprefix(".") or "wav"
