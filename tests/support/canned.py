"""Servers that misbehave on purpose: every request gets the same few bytes, and the connection ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class CannedServer:
    """
    Answers whatever is asked with `answer`, as raw bytes.

    Attributes:
        endpoint: its URL
        left: set once a client has closed its end
        requests: the first lines of what was asked

    """

    def __init__(self, answer: bytes, *, waits: bool) -> None:
        self._answer = answer
        self._waits = waits
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.left = threading.Event()
        self.requests: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(30)
                self.requests.append(connection.recv(65536).split(b"\r\n")[0].decode())
                connection.sendall(self._answer)
                if self._waits:
                    self._wait_for_end(connection)

    def _wait_for_end(self, connection: socket.socket) -> None:
        with suppress(ConnectionResetError):  # closed with bytes unread
            while connection.recv(65536):
                pass
        self.left.set()


@contextmanager
def canned_server(answer: bytes, *, waits: bool = False) -> Iterator[CannedServer]:
    """Run a CannedServer; one that `waits` leaves the closing of connections to the client."""
    server = CannedServer(answer, waits=waits)
    try:
        yield server
    finally:
        server.close()


def http_answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """Make an HTTP answer; `content_length="…"` may promise what the body does not hold."""
    named = {"content_length": str(len(body)), "connection": "close"} | headers
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in named.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
