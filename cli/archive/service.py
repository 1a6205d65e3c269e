"""The server as an archive run sees it: everything is asked until it is answered, for a long patience."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from cli.archive.errors import ArchiveError, FileTrouble, Stopped, Trouble, writing_failed
from cli.archive.recording import Recording
from cli.client import Client, Document, problem_of
from cli.errors import CommandError, ServerProblem, ServerUnreachable
from shared.jobs import TERMINAL

#: The server, or what is before it, is not there for the moment.
_AWAY = (408, 500, 502, 503, 504)
#: What may be one file's alone, for which the others are not to wait.
_OF_ONE_FILE = ("internal_error", "object_missing", "storage_error")
_TRIES = 4
#: With one of these no other file would fare better: no key, a key that may not, a server that knows no such route.
_HOPELESS = (401, 403, 405)
_LONGEST_PAUSE = 30.0
_FIRST_LOOK, _LONGEST_LOOK = 0.15, 3.0


class Stop:
    """Ends the threads of a run: `check` and `wait` raise once it is set."""

    def __init__(self) -> None:
        self._over = threading.Event()

    def set(self) -> None:
        """End them."""
        self._over.set()

    def check(self) -> None:
        """Go on, or raise `Stopped`."""
        if self._over.is_set():
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Sleep, or raise `Stopped`."""
        if self._over.wait(seconds):
            raise Stopped


@dataclass(frozen=True)
class Fetched:
    """A result that was written: bytes and their sha256."""

    size: int
    sha256: str


class Service:
    """One server, asked with a long patience. Safe to use from several threads."""

    def __init__(self, client: Client, stop: Stop, *, patience: float) -> None:
        self._client = client
        self._stop = stop
        self._patience = patience

    def find(self, name: str) -> Document | None:
        """Read the job of a name, or of an id; None if there is none."""
        answer = self._insist(lambda: self._client.once("GET", _path(name)))
        if answer.status_code == 404 and problem_of(answer).problem_code == "job_not_found":
            return None
        return _document(answer)

    def put(
        self, name: str, recording: Recording, fields: Mapping[str, str], sent: Callable[[int, int], None]
    ) -> tuple[Document, bool]:
        """Send a recording under a name, once; gives its job, and whether it was there before.

        Raises:
            FileTrouble: if the server refuses it.
            ArchiveError: if it would refuse any, or is gone for too long.
        """
        filename = os.fsencode(recording.name).decode(errors="replace")
        tries = 0

        def ask() -> httpx.Response:
            nonlocal tries
            tries += 1
            # A body that was sent already is not sent again if the answer alone was lost.
            if tries > 1 and (found := self._client.once("GET", _path(name))).is_success:
                return found
            files: Any = {"file": (filename, recording.sender(sent))}
            return self._client.once("PUT", _path(name), data=dict(fields), files=files)

        answer = self._insist(ask)
        return _document(answer), answer.status_code != 202

    def wait(self, job: Document, told: Callable[[Document], None]) -> Document:
        """Look at a job until it is over."""
        pause = _FIRST_LOOK
        while job.get("status") not in TERMINAL:
            told(job)
            self._stop.wait(pause)
            pause = min(1.3 * pause, _LONGEST_LOOK)
            job = self._read(str(job["id"]))
        return job

    def _read(self, job_id: str) -> Document:
        return _document(self._insist(lambda: self._client.once("GET", _path(job_id))))

    def has_result(self, job: Document) -> bool:
        """Whether the result of a job that has succeeded is still there."""
        path = _path(str(job["id"]), "/result")
        return self._insist(
            lambda: self._client.once("HEAD", path, follow_redirects=True), from_storage=True
        ).is_success

    def fetch(self, job: Document, target: Path) -> Fetched:
        """Write the result of a job into a file: whole, as long as the job says, and on the disk.

        What has arrived when the connection breaks is kept, as long as the result is the same by its ETag.

        Raises:
            FileTrouble: if the result is gone, or not what the job says.
        """
        try:
            with _created(target) as file:
                download = _Download(self._client, str(job["id"]), file, self._stop)
                answer = self._insist(download.go_on, from_storage=True)
                if not answer.is_success:
                    raise FileTrouble(Trouble.RESULT_GONE, problem_of(answer).message)
                os.fsync(file)
                fetched = Fetched(download.size, download.digest.hexdigest())
        except OSError as error:
            raise writing_failed(error, str(target)) from None
        _check(job, fetched)
        return fetched

    def receipt(self, job: Document) -> object | None:
        """Read the receipt of a job; None from a server that writes none."""
        try:
            answer = self._insist(lambda: self._client.once("GET", _path(str(job["id"]), "/receipt")))
        except ServerProblem as problem:
            if problem.status != 404:
                raise
            return None
        return answer.json() if answer.is_success else None

    def forget(self, job: Document) -> None:
        """Let the server delete a job and its objects, if it can; nothing depends on it."""
        with suppress(CommandError):
            self._client.once("DELETE", _path(str(job["id"])))

    def _insist(self, ask: Callable[[], httpx.Response], *, from_storage: bool = False) -> httpx.Response:
        """Ask until there is an answer that stands; one *from_storage* may be that of an S3 server, about one object.

        Raises:
            ArchiveError: if there is none for as long as the patience lasts, or one that no file will change.
        """
        deadline = time.monotonic() + self._patience
        pause, tries = 0.25, 0
        while True:
            self._stop.check()
            problem: CommandError
            told, tries = None, tries + 1
            try:
                answer = ask()
            except CommandError as error:
                problem = error
            else:
                if answer.is_success:
                    return answer
                problem = problem_of(answer)
                told = _retry_after(answer)
                if answer.status_code == 429 or problem.problem_code == "being_taken_in":
                    deadline = time.monotonic() + self._patience  # it is there, and asks for time
                elif answer.status_code not in _AWAY or (tries >= _TRIES and problem.problem_code in _OF_ONE_FILE):
                    if not (from_storage and problem.problem_code == "not_our_server"):
                        _give_up_if_hopeless(problem)
                    return answer
            if time.monotonic() > deadline:
                raise ArchiveError(f"{problem.message} What is done is kept: go on with --resume.") from None
            self._stop.wait(told if told is not None else pause * random.uniform(0.75, 1.25))
            pause = min(2 * pause, _LONGEST_PAUSE if pause >= 4 else 4.0)


class _Download:
    """A result on its way into a file; goes on where it was broken off."""

    def __init__(self, client: Client, job_id: str, file: int, stop: Stop) -> None:
        self._client = client
        self._path = _path(job_id, "/result")
        self._file = file
        self._stop = stop
        self._etag = ""
        self._begin()

    def _begin(self) -> None:
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self.size = 0
        self.digest = sha256()

    def go_on(self) -> httpx.Response:
        """Read to the end; raises `ServerUnreachable` if the connection breaks."""
        headers = {"Range": f"bytes={self.size}-", "If-Range": self._etag} if self.size and self._etag else {}
        with self._client.opened(self._path, headers) as answer:
            if not answer.is_success:
                answer.read()
                if answer.status_code == 416:  # nothing was missing, or it is another one now
                    self._begin()
                    raise ServerUnreachable("The result could not be read on where it was broken off.")
                return answer
            if answer.status_code != 206:
                self._begin()
            etag = answer.headers.get("ETag", "")
            self._etag = "" if etag.startswith("W/") else etag
            for (
                piece
            ) in answer.iter_raw():  # as it comes: what waits to be a larger piece is lost when the connection breaks
                self._stop.check()
                self.digest.update(piece)
                self.size += len(piece)
                while piece:
                    piece = piece[os.write(self._file, piece) :]
        return answer


@contextmanager
def _created(path: Path) -> Iterator[int]:
    """Make a new file for writing, as a descriptor."""
    with suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check(job: Document, fetched: Fetched) -> None:
    output = job.get("output") or {}
    receipt = job.get("receipt") or {}
    digest = (receipt.get("result") or {}).get("sha256") or output.get("sha256")
    if output.get("bytes") not in (None, fetched.size):
        detail = f"{fetched.size} bytes came, where the job says {output['bytes']}"
    elif digest not in (None, fetched.sha256):
        detail = "its sha256 is not that of the receipt"
    else:
        return
    raise FileTrouble(Trouble.RESULT_DAMAGED, f"The result did not arrive as it was made: {detail}.")


def _document(answer: httpx.Response) -> Document:
    if not answer.is_success:
        problem = problem_of(answer)
        raise FileTrouble(problem.problem_code, problem.message)
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict) or "id" not in document or "status" not in document:
        raise ArchiveError("The server does not answer as voicefixer-queue does: is the URL right?")
    return document


def _give_up_if_hopeless(problem: ServerProblem) -> None:
    stranger = problem.status < 400 or (problem.status == 404 and problem.problem_code != "job_not_found")
    if problem.status in _HOPELESS or stranger:
        raise problem


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds that the server asks for; a date, as proxies may send it, counts as none."""
    try:
        return min(max(float(answer.headers["Retry-After"]), 0.1), 300.0)
    except (KeyError, ValueError):
        return None


def _path(job_id: str, rest: str = "") -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}{rest}"
