"""An API process for a fuzz, with a Redis and a folder of its own and no workers."""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from bench.service import Door
from cli.folder import claim
from cli.network import free_port
from cli.processes import Program, own_command
from cli.redis_server import RedisServer
from cli.supervisor import Supervisor
from shared.storage.keys import TEMPORARY

MIB = 1024 * 1024
MOST_UPLOAD = 4 * MIB
_READY_SECONDS, _STOP_SECONDS = 60.0, 20.0


@dataclass(frozen=True)
class Server:
    """A running API: its port, its process, its log, the folder of its objects and the URL of its Redis."""

    port: int
    process: int
    log: Path
    objects: Path
    redis_url: str

    def rss_kib(self) -> int:
        """Resident memory of the process that answers."""
        return self._status("VmRSS")

    def peak_kib(self) -> int:
        """The most that it ever was."""
        return self._status("VmHWM")

    def open_files(self) -> int:
        """Files and connections that it holds."""
        return len(list(Path(f"/proc/{self.worker()}/fd").iterdir()))

    def left(self) -> set[str]:
        """Jobs that have objects, and files that are unfinished."""
        files = [path.relative_to(self.objects) for path in self._files()]
        return {str(path) if path.name.startswith(TEMPORARY) else path.parts[1] for path in files}

    def _files(self) -> list[Path]:
        return [path for path in self.objects.rglob("*") if path.is_file()]

    def forget(self) -> None:
        """Empty Redis and storage: without workers jobs pile up."""
        for path in self._files():
            path.unlink()
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushall()

    def lines(self, start: int) -> bytes:
        """The log from a byte on."""
        with self.log.open("rb") as file:
            file.seek(start)
            return file.read()

    def worker(self) -> int:
        """The process that answers, gunicorn's one child; it changes where it died."""
        (child,) = Path(f"/proc/{self.process}/task/{self.process}/children").read_text().split()
        return int(child)

    def _status(self, name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{self.worker()}/status").read_text())
        return int(found[1]) if found else 0


@contextmanager
def server(data: Path) -> Iterator[Server]:
    """Run Redis and the API on a folder of their own."""
    supervisor = Supervisor(lambda text: print(text, file=sys.stderr))
    try:
        with claim(data) as folder:
            store = RedisServer(folder)
            supervisor.start(store.program())
            store.wait(supervisor.check)
            port, log = free_port(), folder.log("api")
            settings = {
                "VFQ_REDIS_URL": store.url,
                "VFQ_STORAGE_URL": folder.objects.as_uri(),
                "VFQ_API_PORT": str(port),
                "VFQ_API_THREADS": "4",
                "VFQ_MAX_UPLOAD_BYTES": str(MOST_UPLOAD),
                "VFQ_LOG_LEVEL": "warning",
            }
            supervisor.start(Program(name="api", command=own_command("api"), log=log, environment=settings))
            _wait(port, supervisor)
            yield Server(port, supervisor.pids()["api"], log, folder.objects, store.url)
    finally:
        for name in [name for name in ("api", "redis") if name in supervisor.pids()]:
            supervisor.drain([name], _STOP_SECONDS, lambda: False)


def _wait(port: int, supervisor: Supervisor) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    with Door(port) as door:
        while not door.alive():
            supervisor.check()
            if time.monotonic() > deadline:
                raise SystemExit("the API does not answer")
            time.sleep(0.05)
