"""What goes with every request: an id, one line in the log, and the end of a connection that cannot go on."""

import logging
import re
import time
import uuid
from urllib.parse import quote

from flask import Flask, Response, g, request
from structlog.contextvars import bind_contextvars, clear_contextvars

from shared import log

HEADER = "X-Request-Id"
#: An unread body up to here is thrown away by the server; beyond, the connection ends.
SMALL_BODY = 32 * 1024
PROBES = ("/healthz", "/readyz", "/health", "/metrics")

_SANE = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_log = log.logger("api")


def install(app: Flask) -> None:
    """Name, time and log each request."""
    app.before_request(_begin)
    app.after_request(_finish)


def request_id() -> str:
    """Id of the request being served."""
    if "request_id" not in g:
        given = request.headers.get(HEADER, "")
        g.request_id = given if _SANE.fullmatch(given) else uuid.uuid4().hex
    return str(g.request_id)


def address() -> str:
    """Path that was asked, in characters that do no harm in a header or a log."""
    return quote(request.script_root + request.path, safe="/:@!$&'()*+,;=~-._")


def body_was_read() -> None:
    """Say that the body was read to its end, so that the connection can serve another request."""
    g.body_was_read = True


def about_job(job_id: str) -> None:
    """Say which job the request is about, for the log."""
    g.job_id = job_id
    bind_contextvars(job_id=job_id)


def _begin() -> None:
    clear_contextvars()
    g.began = time.perf_counter()
    bind_contextvars(request_id=request_id())


def _finish(response: Response) -> Response:
    response.headers[HEADER] = request_id()
    if response.status_code >= 400 and _much_is_unread():
        response.headers["Connection"] = "close"
    began, line = g.get("began", time.perf_counter()), _line(response)
    # Probes come every few seconds and are of no interest while they succeed.
    level = logging.DEBUG if request.path in PROBES and response.status_code < 400 else logging.INFO

    def write() -> None:
        _log.log(level, "request", **line, seconds=round(time.perf_counter() - began, 4))
        clear_contextvars()  # the server's own lines of this thread are about something else

    response.call_on_close(write)  # after the last byte of a stream
    return response


def _line(response: Response) -> dict[str, object]:
    # The path alone: a query may hold what does not belong in a log.
    job_id = g.get("job_id")
    return {
        "request_id": request_id(),
        "method": request.method,
        "path": address(),
        "status": response.status_code,
        **({"job_id": job_id} if job_id else {}),
    }


def _much_is_unread() -> bool:
    if g.get("body_was_read"):
        return False
    if request.content_length is None:
        return "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    return request.content_length > SMALL_BODY
