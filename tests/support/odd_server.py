"""An HTTP server that answers as a test says, down to the byte, and tells who called."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

#: Gets the connection and the request's head (with what came of its body), and answers; then it is closed.
Answering = Callable[[socket.socket, bytes], None]


def plain(body: bytes = b"ok", status: str = "200 OK", **headers: str) -> Answering:
    """Answer as servers do."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return lambda connection, _: connection.sendall(head + body)


def raw(data: bytes) -> Answering:
    """Send just this."""
    return lambda connection, _: connection.sendall(data)


def redirect(location: str, status: str = "302 Found") -> Answering:
    """Send elsewhere."""
    return plain(b"", status, Location=location.encode().decode("latin-1"))


def _is_whole(request: bytes) -> bool:
    """Whether a request has its head, and as many bytes of body as that says."""
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(end) and len(body) >= int(length[1] if length else 0)


class OddServer:
    """Serves `answers` one by one, the last of them for ever, each connection in a thread of its own."""

    def __init__(self, *answers: Answering, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None):
        self.requests: list[bytes] = []
        #: Set when the test is over, for answers that go on.
        self.over = threading.Event()
        self._answers = list(answers)
        self._tls = tls
        self._listener = socket.create_server((host, port))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            request = b""
            while not _is_whole(request):  # head and body may come in two packets
                piece = connection.recv(65536)
                if not piece:
                    return
                request += piece
            self.requests.append(request)
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            answer(connection, request)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            connection.close()
