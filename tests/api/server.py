"""The API as a process under gunicorn, and clients that send what no library would."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.ports import free_port

HERE = Path(__file__).parents[2]
CODE = """
import sys
from api.server import serve
from shared.settings import load_settings
serve(load_settings(), "127.0.0.1", int(sys.argv[1]))
"""
BOUNDARY = b"----x"
HEAD = b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
TAIL = b"\r\n--" + BOUNDARY + b"--\r\n"


@dataclass
class Process:
    """A running server."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def worker(self) -> int:
        """The process that answers: gunicorn's one child."""
        (child,) = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(child)

    def peak(self) -> int:
        """Most memory that the worker has held so far, in MiB."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.worker}/status").read_text())
        assert found
        return int(found[1]) // 1024

    def open_files(self) -> list[tuple[str, int]]:
        """Files that the worker has open, with their sizes; deleted ones too."""
        found = []
        for entry in Path(f"/proc/{self.worker}/fd").iterdir():
            try:
                name, size = str(entry.readlink()), entry.stat().st_size
            except OSError:  # closed meanwhile
                continue
            if name.startswith("/") and not name.startswith("/dev"):
                found.append((name, size))
        return found


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[Process]:
    """Run a server with these settings; its temporary files go to `folder`/tmp, its lines to `folder`/log."""
    (folder / "tmp").mkdir(parents=True)
    port, log = free_port(), folder / "log"
    names = {f"VFQ_{name.upper()}": value for name, value in settings.items()}
    environment = {**os.environ, **names, "TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(HERE)}
    with log.open("wb") as lines:
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, str(port)], cwd=folder, env=environment, stdout=lines, stderr=lines
        )
    server = Process(process, port, log)
    try:
        _wait(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(server: Process) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and server.process.poll() is None:
        try:
            if httpx.get(f"{server.url}/healthz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"the server did not start:\n{server.log.read_text()[-2000:]}")


class RawClient:
    """A connection that is written to byte by byte."""

    def __init__(self, server: Process, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(30)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", server.port))

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def begin(self, *headers: str) -> None:
        """Send the head of an upload."""
        lines = [
            "POST /v1/jobs HTTP/1.1",
            "Host: localhost",
            f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}",
            *headers,
        ]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n")

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def send_chunked(self, pieces: Iterable[bytes]) -> None:
        """Send a chunked body."""
        for piece in pieces:
            self.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.send(b"0\r\n\r\n")

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer: status, headers with names in lower case, body."""
        received = b""
        while b"\r\n\r\n" not in received:
            data = self.socket.recv(65536)
            assert data, f"the connection ended within the head: {received!r}"
            received += data
        head, _, body = received.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += self.socket.recv(65536)
        return int(status.split()[1]), headers, body


def upload(megabytes: int) -> Iterator[bytes]:
    """A form with a file of so many MiB, MiB by MiB."""
    yield HEAD
    for number in range(megabytes):
        yield bytes([number % 251]) * 1024 * 1024
    yield TAIL


def length(megabytes: int) -> int:
    """Bytes of that form."""
    return len(HEAD) + megabytes * 1024 * 1024 + len(TAIL)
