"""The production server: gunicorn, one process, threads, no limit on how long an upload may take."""

import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from gunicorn import glogging  # type: ignore[import-untyped]
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from api.app import create_app
from api.http import unread
from api.watching.line import STOPPING
from shared import log
from shared.errors import QueueUnavailable
from shared.redis_check import check_redis
from shared.settings import Settings

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

#: A client that neither sends nor takes a byte for so long is gone.
IDLE_SECONDS = 120
#: How long a stopping server lets requests finish.
DRAIN_SECONDS = 30
LINGER_SECONDS = 5.0
#: Of a request: method, address and version. RFC 9112, section 3, asks for 8,000 bytes at least.
LONGEST_LINE = 8190
#: The head of a request is one or two packets.
HEAD_SECONDS = 5.0
_MOST_HEAD = 64 * 1024

_request = threading.local()


def serve(settings: Settings, host: str, port: int) -> None:
    """Answer requests until SIGTERM, then finish those under way. Returns never: gunicorn exits the process.

    Raises:
        SettingsError: if a setting is wrong, or Redis may drop jobs; nothing listens then.
    """
    log.configure(settings)
    try:
        check_redis(settings, retries=1)
    except QueueUnavailable as error:  # /readyz tells it too, and it may come back
        log.logger("api").warning("Redis was not looked at", reason=error.message)
    unread.install()
    _Server(create_app(settings).wsgi_app, settings, host, port).run()


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, app: Wsgi, settings: Settings, host: str, port: int) -> None:
        self._app = app
        self._options: dict[str, Any] = {
            "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "workers": 1,
            "worker_class": _Worker,
            "threads": settings.api_threads,
            "timeout": 120,  # of the process's heartbeat, not of a request
            "graceful_timeout": DRAIN_SECONDS,
            "keepalive": 5,
            "worker_tmp_dir": _memory_folder(),
            "control_socket_disable": True,
            "logger_class": _Log,
            "loglevel": settings.log_level,
            "pre_request": _remember,
            "limit_request_line": LONGEST_LINE,
        }
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            if name in self.cfg.settings:  # control_socket_disable came late
                self.cfg.set(name, value)

    def load(self) -> Wsgi:
        return _Connections(self._app)


class _Worker(ThreadWorker):  # type: ignore[misc]
    """Gives a thread for good only to a request whose head is there: others hold one for seconds, not for ever."""

    def handle(self, conn: Any) -> Any:
        # What came with the request before lies in the parser's buffer.
        before = conn.parser.unreader.buf.getvalue() if conn.initialized and conn.parser else b""
        return super().handle(conn) if _head_comes(conn.sock, before) else False


def _head_comes(connection: socket.socket, before: bytes) -> bool:
    """Wait for the whole head of a request without taking it; False if it does not come, or the client goes."""
    if b"\r\n\r\n" in before:
        return True
    connection.setblocking(False)
    until = time.monotonic() + HEAD_SECONDS
    seen = -1
    while True:
        try:
            coming = connection.recv(_MOST_HEAD, socket.MSG_PEEK)
            gone = not coming
        except BlockingIOError:
            coming, gone = b"", False
        head = before + coming
        if gone or b"\r\n\r\n" in head or len(coming) == _MOST_HEAD:  # gunicorn refuses one that is too long
            return bool(head)
        left = until - time.monotonic()
        if left <= 0:
            return False
        if len(head) == seen:  # what is there makes the socket readable at once
            time.sleep(min(left, 0.02))
        else:
            select.select([connection], [], [], left)
        seen = len(head)


class _Log(glogging.Logger):  # type: ignore[misc]
    """Gunicorn's own lines go where ours go; the access line is written by the application."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for name in ("gunicorn.error", "gunicorn.access"):
            logger = logging.getLogger(name)
            logger.handlers[:] = []
            logger.propagate = True


class _Connections:
    """Ends idle connections, and those whose body nobody will read.

    Gunicorn drops an application's `Connection: close`, and a socket closed over unread bytes is reset, which can
    take the answer from a client that is still sending. So: say that the connection ends, answer, and take what
    comes for a few seconds more (RFC 9112, section 9.6).
    """

    def __init__(self, app: Wsgi) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        connection: socket.socket = environ["gunicorn.socket"]
        connection.settimeout(IDLE_SECONDS)
        worker = _request.worker
        environ[STOPPING] = lambda: not worker.alive
        closing = False

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal closing
            closing = any(name.lower() == "connection" and value == "close" for name, value in headers)
            if closing:
                _request.now.force_close()
            return start_response(status, headers, exc_info)

        body = self._app(environ, start)
        return _Lingering(body, connection) if closing else body


def _remember(worker: Any, request: Any) -> None:
    _request.worker = worker
    _request.now = request


class _Lingering:
    """A response body after which the connection is closed gently."""

    def __init__(self, body: Iterable[bytes], connection: socket.socket) -> None:
        self._body = body
        self._connection = connection

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            close()
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
            until = time.monotonic() + LINGER_SECONDS
            while (left := until - time.monotonic()) > 0:
                self._connection.settimeout(left)
                if not self._connection.recv(64 * 1024):
                    return


def _memory_folder() -> str | None:
    # The heartbeat is a file: on a slow disk it could miss a beat.
    folder = Path("/dev/shm")
    return str(folder) if folder.is_dir() and os.access(folder, os.W_OK) else None
