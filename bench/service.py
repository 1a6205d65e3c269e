"""The service as processes of its own for a bench, a thin client for its door, and what each process costs."""

import http.client
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from cli.folder import claim
from cli.network import free_port
from cli.processes import Program, own_command
from cli.redis_server import RedisServer
from cli.supervisor import Supervisor

#: A model worker as users start it.
PRODUCT_WORKER = own_command("worker", "--stages", "restore,vocode")
#: The same process with networks that cost nothing (see `bench.standins`).
COSTLESS_WORKER = (sys.executable, "-m", "bench.standins")
OVER = ("succeeded", "failed", "canceled", "expired")

_READY_SECONDS = 300.0
_STOP_SECONDS = 60.0
_BOUNDARY = "vfq-bench"
#: Of the forms of `form_of`.
CONTENT_TYPE = f"multipart/form-data; boundary={_BOUNDARY}"
_TICKS = os.sysconf("SC_CLK_TCK")


class Door:
    """One keep-alive connection to the API. It costs little, for it shares the cores with what is measured."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3600)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def submit(self, form: bytes) -> dict[str, Any]:
        """Send a form of `form_of`; gives the job."""
        return self._json("POST", "/v1/jobs", 202, form, {"Content-Type": CONTENT_TYPE})

    def submit_batch(self, lines: bytes) -> dict[str, Any]:
        """Send a list of items as JSONL; gives the batch."""
        return self._json("POST", "/v1/batches", 202, lines, {"Content-Type": "application/jsonl"})

    def batch(self, batch_id: str) -> dict[str, Any]:
        """Ask for a batch."""
        return self._json("GET", f"/v1/batches/{batch_id}", 200)

    def job(self, job_id: str) -> dict[str, Any]:
        """Ask for a job."""
        return self._json("GET", f"/v1/jobs/{job_id}", 200)

    def get(self, path: str) -> dict[str, Any]:
        """Read any other address."""
        return self._json("GET", path, 200)

    def wait(self, job_id: str, *, every: float) -> dict[str, Any]:
        """Poll until a job has succeeded."""
        while True:
            job = self.job(job_id)
            if job["status"] in OVER:
                break
            time.sleep(every)
        if job["status"] != "succeeded":
            raise SystemExit(f"job {job_id} {job['status']}: {job['error']}")
        return job

    def result(self, job_id: str) -> int:
        """Fetch a result and forget it; gives its size in bytes."""
        self._connection.request("GET", f"/v1/jobs/{job_id}/result")
        answer, size = self._connection.getresponse(), 0
        while piece := answer.read(1 << 20):
            size += len(piece)
        if answer.status != 200:
            raise SystemExit(f"the result of {job_id}: HTTP {answer.status}")
        return size

    def cancel(self, job_id: str) -> None:
        """Cancel a job, if it is not over."""
        self._connection.request("POST", f"/v1/jobs/{job_id}/cancel")
        self._connection.getresponse().read()

    def delete(self, job_id: str) -> None:
        """Delete a job that is over, so that the disk does not fill."""
        self._connection.request("DELETE", f"/v1/jobs/{job_id}")
        self._connection.getresponse().read()

    def ready(self) -> bool:
        """Whether every stage has a worker."""
        return self._says_ok("/readyz")

    def alive(self) -> bool:
        """Whether the API answers."""
        return self._says_ok("/healthz")

    def _says_ok(self, path: str) -> bool:
        try:
            self._connection.request("GET", path)
            answer = self._connection.getresponse()
            answer.read()
            return answer.status == 200
        except OSError:
            self._connection.close()
            return False

    def _json(
        self, method: str, path: str, wanted: int, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        self._connection.request(method, path, body, dict(headers or {}))
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != wanted:
            raise SystemExit(f"{method} {path}: HTTP {answer.status} {text.decode(errors='replace')[:500]}")
        found: dict[str, Any] = json.loads(text)
        return found


def form_of(recording: bytes, **options: str) -> bytes:
    """Make the multipart form that submits a recording."""
    fields = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in options.items()
    ]
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="bench.wav"\r\n\r\n'
    return "".join(fields).encode() + head.encode() + recording + f"\r\n--{_BOUNDARY}--\r\n".encode()


@dataclass(frozen=True)
class Service:
    """A running service.

    Attributes:
        port: of its API.
        redis_url: of its Redis.
        objects: the folder that is its storage.
        supervisor: keeps its processes.
    """

    port: int
    redis_url: str = field(repr=False)
    objects: Path
    supervisor: Supervisor

    def door(self) -> Door:
        """Open a connection."""
        return Door(self.port)

    def start_worker(self, name: str, command: tuple[str, ...], log: Path, environment: Mapping[str, str]) -> None:
        """Start one more worker; it takes work once its models are loaded."""
        self.supervisor.start(Program(name=name, command=command, log=log, environment=environment))

    def cpu_seconds(self) -> dict[str, float]:
        """Tell the processor time that each process, and this one, has used so far."""
        spent = {name: sum(map(_cpu, _tree(pid))) for name, pid in self.supervisor.pids().items()}
        return {**spent, "clients": time.process_time()}


@contextmanager
def service(
    data: Path, *, workers: Sequence[tuple[str, ...]], environment: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """Run Redis (append-only file), the API, an audio worker and these model workers on a folder of their own.

    They are the processes of the one-machine stack, with its settings; *environment* adds to these.
    """
    supervisor = Supervisor(lambda text: print(text, file=sys.stderr))
    try:
        with claim(data) as folder:
            server = RedisServer(folder)
            supervisor.start(server.program())
            server.wait(supervisor.check)
            port = free_port()
            settings = {
                "VFQ_REDIS_URL": server.url,
                "VFQ_STORAGE_URL": folder.objects.as_uri(),
                "VFQ_API_PORT": str(port),
                **(environment or {}),
            }
            programs = {"api": own_command("api"), "audio": own_command("worker", "--stages", "audio")}
            programs |= {f"models {number}": command for number, command in enumerate(workers, 1)}
            for name, command in programs.items():
                log = folder.log(name.replace(" ", "-"))
                supervisor.start(Program(name=name, command=command, log=log, environment=settings))
            running = Service(port, server.url, folder.objects, supervisor)
            _wait(running)
            yield running
    finally:
        names = list(supervisor.pids())
        supervisor.drain([name for name in names if name != "redis"], _STOP_SECONDS, lambda: False)
        supervisor.drain(["redis"], _STOP_SECONDS, lambda: False)


def _wait(running: Service) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    with running.door() as door:
        while not door.ready():
            running.supervisor.check()
            if time.monotonic() > deadline:
                raise SystemExit("the service is not ready")
            time.sleep(0.1)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _tree(int(child))


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
