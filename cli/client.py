"""The service's HTTP API as a client sees it: problem documents become sentences, reads outlast a restart."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import quote, urlsplit

import httpx

from cli.errors import CommandError, ServerProblem, ServerUnreachable, UsageProblem

Document = dict[str, Any]

#: How long reads are tried again while the server is away.
_PATIENCE_SECONDS = 15.0
_AWAY = (502, 503, 504)
#: Refusals after which nothing of an upload is left, and which pass.
_NOT_TAKEN_IN = ("too_many_jobs", "queue_full", "storage_unavailable")
_TIMEOUT = httpx.Timeout(30.0, read=120.0)
_PIECE = 1 << 16


class Client:
    """One server. Safe to use from several threads; close it, or use it in a `with`."""

    def __init__(self, url: str, *, patience: float = _PATIENCE_SECONDS, key: str | None = None) -> None:
        """Talk to the server at *url*, with the key of the environment (VFQ_API_KEY) or another; "" for none."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageProblem(
                "The server must be given as a URL such as http://127.0.0.1:8000 (--server, VFQ_SERVER)."
            )
        self.url = url.rstrip("/")
        self._patience = patience
        # A proxy from the environment does not reach this machine's own addresses.
        own = parts.hostname in ("localhost", "127.0.0.1", "::1")
        key = os.environ.get("VFQ_API_KEY", "").strip() if key is None else key
        # httpx takes the header away where a redirect leads to another host.
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=self.url, timeout=_TIMEOUT, trust_env=not own, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def check(self) -> None:
        """See that the server answers.

        Raises:
            ServerUnreachable: if nothing does.
        """
        self._get("/healthz")

    def submit(self, path: Path, fields: Mapping[str, str], sent: Callable[[int, int], None]) -> Document:
        """Upload a recording, read as it is sent, and give its job; *sent* hears bytes done and total.

        It is sent once: tried again is only what never reached the server, which may be restarting, or what it
        could not take in for the moment.

        Raises:
            ServerProblem: if the server refuses it.
            ServerUnreachable: if the connection fails.
            CommandError: if the file cannot be read.
        """
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._submit(path, fields, sent)
            except httpx.ConnectError as error:
                if time.monotonic() > deadline:
                    raise self._unreachable(error) from None
            except _Away as away:
                if time.monotonic() > deadline:
                    raise away.problem from None
            time.sleep(0.5)

    def _submit(self, path: Path, fields: Mapping[str, str], sent: Callable[[int, int], None]) -> Document:
        try:
            with path.open("rb") as file:
                counted = _Counted(file, path.stat().st_size, sent)
                answer = self._http.post("/v1/jobs", data=fields, files={"file": (path.name, counted)})  # type: ignore[dict-item]
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
        except httpx.ConnectError:  # nothing was sent
            raise
        except httpx.TransportError as error:
            raise self._unreachable(error) from None
        if not answer.is_success and (problem := _problem(answer)).problem_code in _NOT_TAKEN_IN:
            raise _Away(problem)
        return _document(_checked(answer))

    def job(self, job_id: str) -> Document:
        """Read a job."""
        return _document(self._get(_job_path(job_id)))

    def jobs(self, limit: int, status: str | None = None) -> list[Document]:
        """Read the youngest jobs."""
        query = {"limit": str(limit)} | ({"status": status} if status else {})
        page = _document(self._get("/v1/jobs", query))
        return list(page.get("jobs", []))

    def cancel(self, job_id: str) -> Document:
        """Ask a job to stop."""
        return self._ask(_job_path(job_id, "/cancel"))

    def retry(self, job_id: str) -> Document:
        """Do a job again that came to nothing; gives the new job."""
        return self._ask(_job_path(job_id, "/retry"))

    def _ask(self, path: str) -> Document:
        try:
            return _document(_checked(self._http.post(path)))
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    def download(self, job_id: str, target: Path, go_on: Callable[[], None] = lambda: None) -> None:
        """Fetch a job's result into a file, begun again if the connection breaks; *go_on* may raise to stop it."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                self._download(job_id, target, go_on)
                return
            except (ServerUnreachable, _Away) as error:
                if time.monotonic() > deadline:
                    raise error.problem if isinstance(error, _Away) else error from None
                time.sleep(0.5)

    def _download(self, job_id: str, target: Path, go_on: Callable[[], None]) -> None:
        try:
            with self._http.stream("GET", _job_path(job_id, "/result"), follow_redirects=True) as answer:
                if not answer.is_success:
                    answer.read()
                    self._check_storage(answer)
                _checked(answer)
                with target.open("wb") as file:
                    for piece in answer.iter_raw(_PIECE):
                        go_on()
                        file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
        except httpx.TransportError as error:
            raise self._unreachable(error) from None
        except OSError as error:
            raise CommandError(f"{target} cannot be written: {error.strerror}.") from None

    def once(self, method: str, path: str, **parts: Any) -> httpx.Response:
        """Ask once, and give the answer, whatever it is.

        Raises:
            ServerUnreachable: if there is none.
        """
        try:
            return self._http.request(method, path, **parts)
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    @contextmanager
    def opened(self, path: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """Read, and give the answer, whatever it is, before its body; redirects are followed.

        Raises:
            ServerUnreachable: if there is none, or if it breaks off.
        """
        try:
            with self._http.stream("GET", path, headers=dict(headers), follow_redirects=True) as answer:
                yield answer
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    def _get(self, path: str, query: Mapping[str, str] | None = None) -> httpx.Response:
        """Read, and try again for a while if the server is away: it may be restarting."""
        deadline = time.monotonic() + self._patience
        pause = 0.2
        while True:
            try:
                return _checked(self._http.get(path, params=query))
            except httpx.TransportError as error:
                problem: CommandError = self._unreachable(error)
            except _Away as away:
                problem = away.problem
            if time.monotonic() + pause > deadline:
                raise problem
            time.sleep(pause)
            pause = min(2 * pause, 2.0)

    def _check_storage(self, answer: httpx.Response) -> None:
        """Say so if it was the storage that refused a file, to which the server had sent us."""
        if answer.history and answer.status_code not in _AWAY and not self._is_ours(answer.url):
            place = f"{answer.url.scheme}://{answer.url.netloc.decode()}"
            message = f"The storage at {place}, to which the server sends for results, answered {answer.status_code}."
            raise ServerProblem(message, status=answer.status_code, problem_code="storage_error")

    def _is_ours(self, url: httpx.URL) -> bool:
        ours = httpx.URL(self.url)
        return (url.scheme, url.host, url.port) == (ours.scheme, ours.host, ours.port)

    def _unreachable(self, error: httpx.TransportError) -> ServerUnreachable:
        how = {httpx.ConnectError: "nothing answers there", httpx.ReadTimeout: "it does not answer in time"}
        reason = how.get(type(error), "the connection broke")
        asked = error.request.url
        if not self._is_ours(asked):
            place = f"{asked.scheme}://{asked.netloc.decode()}"
            return ServerUnreachable(f"The storage at {place}, to which the server sends for results: {reason}.")
        return ServerUnreachable(f"The server at {self.url} cannot be reached: {reason}.")


class _Away(Exception):
    """The server, or what is before it, says: not now."""

    def __init__(self, problem: ServerProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Counted:
    """A file that tells how much of it was read; httpx asks for no more than this."""

    def __init__(self, file: IO[bytes], size: int, sent: Callable[[int, int], None]) -> None:
        self._file = file
        self._size = size
        self._sent = sent

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._sent(self._file.tell(), self._size)
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _job_path(job_id: str, rest: str = "") -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}{rest}"


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    problem = _problem(answer)
    if answer.status_code in _AWAY and answer.request.method == "GET":
        raise _Away(problem)
    raise problem


def problem_of(answer: httpx.Response) -> ServerProblem:
    """Tell what an answer says is wrong."""
    return _problem(answer)


def _problem(answer: httpx.Response) -> ServerProblem:
    """Make one sentence of a problem document (RFC 9457); anything else did not come from the service."""
    document = _parsed(answer)
    status = answer.status_code
    if not isinstance(document, dict) or "detail" not in document:
        message = f"The server answered {status}, and not as voicefixer-queue does: is the URL right?"
        return ServerProblem(message, status=status, problem_code="not_our_server")
    text = str(document["detail"]).rstrip()
    fields = [error for error in document.get("errors") or [] if isinstance(error, dict)]
    places = "; ".join(f"{_field(error)}: {error.get('detail', '')}" for error in fields)
    # Where one field is at fault, its own sentence is the better one.
    message = places if places and len(fields) == 1 else f"{text} {places}".rstrip()
    return ServerProblem(message, status=status, problem_code=str(document.get("code", "unknown")))


def _field(error: Mapping[str, Any]) -> str:
    return str(error.get("pointer", "")).removeprefix("#/").replace("/", ".") or "request"


def _document(answer: httpx.Response) -> Document:
    document = _parsed(answer)
    if not isinstance(document, dict):
        message = "The server does not answer as voicefixer-queue does: is the URL right?"
        raise ServerProblem(message, status=answer.status_code, problem_code="not_our_server")
    return document


def _parsed(answer: httpx.Response) -> object:
    try:
        return answer.json()
    except ValueError:
        return None
