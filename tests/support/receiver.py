"""A receiver of webhooks on loopback, in a thread, that answers as a test wants it to."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Call:
    """A request: `at` is a monotonic time."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        """Its webhook-id."""
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        """Its body."""
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass(frozen=True)
class Reply:
    """What is answered, and after how many seconds; status 0 closes the connection, `drip` sends it byte by byte."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    after: float = 0.0
    drip: float = 0.0


class Receiver:
    """Takes calls; `behave` says how each is answered."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.behave: Callable[[Call], Reply] = lambda _: Reply()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._take(self)

            def do_GET(self) -> None:
                receiver._take(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    def until(self, count: int, *, seconds: float = 10.0) -> list[Call]:
        """Wait for so many calls."""
        end = time.monotonic() + seconds
        while len(self.calls) < count:
            assert time.monotonic() < end, f"{len(self.calls)} calls of {count}"
            time.sleep(0.01)
        return list(self.calls)

    def _take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        call = Call(handler.path, headers, body, time.monotonic())
        self.calls.append(call)
        reply = self.behave(call)
        time.sleep(reply.after)
        with suppress(OSError):
            if not reply.status:
                handler.connection.shutdown(socket.SHUT_RDWR)
                return
            if reply.drip:
                for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000:
                    handler.wfile.write(bytes([byte]))
                    time.sleep(reply.drip)
                return
            handler.send_response(reply.status)
            for name, value in {"Content-Length": "0", **reply.headers}.items():
                handler.send_header(name, value)
            handler.end_headers()

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Run one."""
    with Receiver() as running:
        yield running
