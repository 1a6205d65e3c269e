"""Restores files through a server: upload, wait, download, a few files at a time."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from cli.client import Client, Document
from cli.errors import CommandError
from cli.places import Place, refuse, written
from cli.progress import Board, Watcher
from shared.jobs import TERMINAL

#: So many files are on their way at once: while one is worked on, others are sent and fetched.
_AT_ONCE = 4
_FIRST_PAUSE = 0.15
_LONGEST_PAUSE = 2.0


@dataclass(frozen=True)
class Wish:
    """
    What is asked of every file.

    Attributes:
        inputs: the files
        places: where the result of each goes
        fields: options, as form fields of the API
        overwrite: whether a result may replace a file

    """

    inputs: Sequence[Path]
    places: Sequence[Place]
    fields: Mapping[str, str]
    overwrite: bool = False


@dataclass(frozen=True)
class Outcome:
    """How one file ended; `status` is the job's, or "failed" where there is none.

    `review` says why someone should listen to the result; none if nobody need.
    """

    input: Path
    status: str
    job_id: str | None = None
    output: Path | None = None
    models: list[Document] = field(default_factory=list)
    receipt: Document | None = None
    review: list[str] | None = None
    error: dict[str, str] | None = None

    def document(self) -> Document:
        """As a line for scripts."""
        return {
            "input": str(self.input),
            "job_id": self.job_id,
            "status": self.status,
            "output": str(self.output) if self.output else None,
            "models": self.models,
            "needs_review": self.review is not None,
            "receipt": self.receipt,
            "error": self.error,
        }


class _Interrupted(Exception):
    """Ctrl-C, as the threads hear of it."""


def restore_files(client: Client, wish: Wish, board: Board, report: Callable[[Outcome], None]) -> list[Outcome]:
    """Restore every file; one that fails stops no other. *report* hears of each as it ends.

    On Ctrl-C the jobs that are in hand are canceled.
    """
    stop = Event()
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        tasks = [
            pool.submit(_Task(client, wish, path, place, board, stop).run)
            for path, place in zip(wish.inputs, wish.places, strict=True)
        ]
        try:
            for task in as_completed(tasks):
                outcomes.append(task.result())
                report(outcomes[-1])
        except BaseException:
            stop.set()
            for task in tasks:
                task.cancel()
            raise
    return outcomes


def models_text(models: Sequence[Mapping[str, Any]]) -> str:
    """Name the models of a job, as in "SpectralGateRestorer + GriffinLimVocoder"."""
    return " + ".join(str(model.get("model_type", "?")) for model in models)


@dataclass
class _Task:
    """One file on its way."""

    client: Client
    wish: Wish
    path: Path
    place: Place
    board: Board
    stop: Event
    job_id: str | None = None

    def run(self) -> Outcome:
        watcher = self.board.watch(self.path.name)
        try:
            outcome = self._restore(watcher)
        except CommandError as error:
            code = getattr(error, "problem_code", error.code)
            outcome = self._failed("failed", {"code": str(code), "message": error.message})
        except _Interrupted:
            self._give_up()
            outcome = self._failed("canceled", {"code": "interrupted", "message": "Stopped by Ctrl-C."})
        watcher.ended(outcome.error["message"] if outcome.error else f"{outcome.output}{_note(outcome)}")
        return outcome

    def _restore(self, watcher: Watcher) -> Outcome:
        def sent(done: int, total: int) -> None:
            self._go_on()
            watcher.sent(done, total)

        self._go_on()
        job = self.client.submit(self.path, self.wish.fields, sent)
        self.job_id = str(job["id"])
        job = self._wait(job, watcher)
        if job["status"] != "succeeded":
            return self._failed(str(job["status"]), _error_of(job))
        target = self.place.path(_extension(job))
        refuse(target, self.wish.inputs, overwrite=self.wish.overwrite)
        with written(target) as part:
            self.client.download(self.job_id, part, self._go_on)
        models, receipt = list(job.get("models") or []), job.get("receipt")
        return Outcome(self.path, "succeeded", self.job_id, target, models, receipt, _review(job))

    def _go_on(self) -> None:
        if self.stop.is_set():
            raise _Interrupted

    def _wait(self, job: Document, watcher: Watcher) -> Document:
        pause = _FIRST_PAUSE
        while job["status"] not in TERMINAL:
            if self.stop.wait(pause):
                raise _Interrupted
            pause = min(1.2 * pause, _LONGEST_PAUSE)
            job = self.client.job(str(job["id"]))
            watcher.told(job)
        return job

    def _give_up(self) -> None:
        if self.job_id is not None:
            with suppress(CommandError):  # it may be over, or the server gone: nothing is left to do
                self.client.cancel(self.job_id)

    def _failed(self, status: str, error: dict[str, str]) -> Outcome:
        return Outcome(self.path, status, self.job_id, error=error)


def _error_of(job: Document) -> dict[str, str]:
    error = job.get("error") or {}
    code = str(error.get("code") or f"job_{job['status']}")
    return {"code": code, "message": str(error.get("message") or f"The job was {job['status']}.")}


def _review(job: Document) -> list[str] | None:
    """Why someone should listen to a job's result; the reasons are empty where its receipt is gone."""
    if not (job.get("output") or {}).get("needs_review"):
        return None
    found = (job.get("receipt") or {}).get("check") or {}
    return [str(reason.get("detail", "")) for reason in found.get("reasons") or []]


def _note(outcome: Outcome) -> str:
    if outcome.review is None:
        return ""
    return f" (needs review: {' '.join(outcome.review) or 'listen to it'})"


def _extension(job: Document) -> str:
    filename = str((job.get("output") or {}).get("filename", ""))
    return Path(filename).suffix.removeprefix(".") or "wav"
