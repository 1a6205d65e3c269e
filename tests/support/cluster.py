"""The whole service as real processes that die and come back, behind proxies that fail on command."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import redis

from shared.queues import STAGES, lanes_of, queue_name
from shared.records import JobRecords, connect
from shared.storage import ObjectStore
from tests.support.ports import free_port
from tests.support.proxy import FaultProxy
from tests.support.redis import RedisServer

OVER = ("succeeded", "failed", "canceled", "expired")
#: Short windows and short leases: what takes minutes in production takes seconds here.
QUICK = {
    "VFQ_CORE_FRAMES": "256",
    "VFQ_CONTEXT_FRAMES": "64",
    "VFQ_HALO_FRAMES": "80",
    "VFQ_FADE_FRAMES": "32",
    "VFQ_LEASE_SECONDS": "2",
    "VFQ_VISIBILITY_TIMEOUT": "5",
    "VFQ_ORPHAN_SECONDS": "6",
    "VFQ_DRAIN_SECONDS": "5",
}
_READY_SECONDS = 60.0


class Cluster:
    """Redis, API, an audio worker and model workers; whoever dies is started again, as by a supervisor.

    Attributes:
        redis: the server; processes reach it through `redis_proxy`.
        store: the objects, reached without any proxy.
        records: the same for records.
        client: HTTP to the API.
    """

    def __init__(
        self, folder: Path, server: RedisServer, store: ObjectStore, settings: Mapping[str, str], *, models: int
    ) -> None:
        self.folder, self.redis, self.store = folder, server, store
        self.points = folder / "points"
        self.points.mkdir()
        self.redis_proxy = FaultProxy(server.port)
        self.raw: Any = redis.Redis.from_url(server.url, decode_responses=True)
        self.records = JobRecords(connect(server.url))
        self.port = free_port()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60, trust_env=False)
        self._settings = {
            **QUICK,
            "VFQ_REDIS_URL": f"redis://127.0.0.1:{self.redis_proxy.port}/0",
            "VFQ_API_PORT": str(self.port),
            **settings,
        }
        self._commands = {"api": ["api"], "audio": ["worker", "audio"]}
        self._commands |= {f"models-{number}": ["worker", "restore,vocode"] for number in range(models)}
        self._environment: dict[str, dict[str, str]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.RLock()
        self._resting: set[str] = set()
        self._ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    # Processes.

    def start(self) -> None:
        """Start all, and see that whoever dies is started again."""
        for name in self._commands:
            self._launch(name)
        self._keeper.start()
        self.wait_ready()

    def stop(self) -> None:
        """End all."""
        self._ending.set()
        self._keeper.join()
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(18)  # SIGCONT: one that is stopped would not hear the next
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        self.client.close()
        self.raw.close()

    def restart(self, *names: str, **environment: str) -> None:
        """Start processes again, with more in their environment; none: without it."""
        with self._lock:
            for name in names:
                self._end(name)
                self._environment[name] = environment
                self._launch(name)

    @contextmanager
    def otherwise(self, *names: str, **environment: str) -> Iterator[None]:
        """Run processes with more in their environment while inside."""
        self.restart(*names, **environment)
        try:
            self.wait_ready()
            yield
        finally:
            self.restart(*names)
            self.wait_ready()

    @contextmanager
    def resting(self, *names: str) -> Iterator[None]:
        """Keep processes dead while inside."""
        with self._lock:
            self._resting |= set(names)
            for name in names:
                self.processes[name].kill()
                self.processes[name].wait()
        try:
            yield
        finally:
            with self._lock:
                self._resting -= set(names)

    def names(self, room: str) -> list[str]:
        """Names of the processes of a kind: api, audio, models."""
        return [name for name in self._commands if name.startswith(room)]

    def kill(self, name: str) -> None:
        """SIGKILL; it will be started again."""
        self.processes[name].kill()

    def stopped(self) -> psutil.Process | None:
        """The process that stands still, if there is one."""
        for process in self.processes.values():
            if process.poll() is None and psutil.Process(process.pid).status() == psutil.STATUS_STOPPED:
                return psutil.Process(process.pid)
        return None

    def wait_ready(self) -> None:
        """Wait until the API answers, and every worker that lives now has said so."""

        def ready() -> bool:
            try:
                if self.client.get("/readyz").status_code != 200:
                    return False
            except httpx.TransportError:
                return False
            told = {
                name.partition("@")[0] for stage in STAGES for name in self.raw.zrange(f"vfq:workers:{stage}", 0, -1)
            }
            with self._lock:
                workers = [process for name, process in self.processes.items() if name != "api"]
                return all(str(process.pid) in told for process in workers)

        self.until(ready, seconds=_READY_SECONDS)

    # Faults.

    def arm(self, point: str, action: str) -> None:
        """Let the next process that comes to a point do something."""
        draft = self.points / "draft"
        draft.write_text(action)
        draft.rename(self.points / point)

    @contextmanager
    def paced(self, seconds: float) -> Iterator[None]:
        """Let every call of a network take so long while inside."""
        self.arm("pace", str(seconds))
        try:
            yield
        finally:
            (self.points / "pace").unlink()

    def sprung(self, point: str) -> bool:
        """Whether a point that was armed has been reached."""
        return not (self.points / point).exists()

    def executions(self) -> int:
        """How often a network ran."""
        path = self.points / "executions"
        return path.stat().st_size if path.exists() else 0

    # Jobs.

    def submit(self, data: bytes, *, filename: str = "a.wav", **fields: str) -> str:
        """Submit a recording that must be accepted; gives the job's id."""
        answer = self.client.post("/v1/jobs", files={"file": (filename, data)}, data=fields)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """Ask for a job."""
        answer = self.client.get(f"/v1/jobs/{job_id}")
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def wait(self, *job_ids: str, seconds: float = 60) -> list[dict[str, Any]]:
        """Wait until jobs are over."""
        self.until(lambda: all(str(self.records.state(job_id)) in OVER for job_id in job_ids), seconds=seconds)
        return [self.job(job_id) for job_id in job_ids]

    def result(self, job_id: str) -> str:
        """Give the sha256 of a result, which must be there."""
        answer = self.client.get(f"/v1/jobs/{job_id}/result")
        assert answer.status_code == 200, f"{answer.text}\n{self.tail()}"
        return hashlib.sha256(answer.content).hexdigest()

    def until(self, come: Any, *, seconds: float = 30) -> None:
        """Wait until something has come; fails with the ends of the logs."""
        end = time.monotonic() + seconds
        while not come():
            assert time.monotonic() < end, f"waited in vain\n{self.tail()}"
            time.sleep(0.05)

    def events(self, job_id: str) -> list[str]:
        """States that a job has passed through, in order."""
        return [fields["status"] for _, fields in self.raw.xrange("vfq:events") if fields["id"] == job_id]

    def leftovers(self) -> list[str]:
        """What is in Redis or storage and should not be there when no job is under way."""
        keys = list(self.raw.scan_iter("vfq:*", count=1000))
        loose: tuple[str, ...] = (
            "vfq:leases",
            "vfq:later",
            "vfq:tidy",
            "vfq:gone",
            "vfq:deadlines",
            "vfq:open:",
            "vfq:sent:",
        )
        loose += ("vfq:unacked",)
        queues = {f"vfq:{queue_name(lane)}" for lane in lanes_of(STAGES)}
        found = [key for key in keys if key.startswith(loose) or key in queues]
        found = [key for key in found if not key.endswith("unacked_mutex")]
        found += [key for key in keys if key.endswith((":won", ":tries", ":out"))]
        for info in self.store.list("jobs/"):
            job_id, _, name = info.key.removeprefix("jobs/").partition("/")
            kind = name.split(".")[0]
            if not self.records.known([job_id]) or kind not in ("source", "manifest", "end", "result", "receipt"):
                found.append(info.key)
        return found

    def settle(self, *, seconds: float = 40) -> None:
        """Wait until nothing is left of what is over."""
        end = time.monotonic() + seconds
        while found := self.leftovers():
            assert time.monotonic() < end, f"left over: {found[:20]}\n{self.tail()}"
            time.sleep(0.3)

    def tail(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))

    def _end(self, name: str) -> None:
        """SIGKILL, also to the API's own child, which would answer for a second more."""
        process = self.processes[name]
        family = psutil.Process(process.pid).children() if process.poll() is None else []
        for one in (process, *family):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()

    def _launch(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as output:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "tests.support.faulty", *self._commands[name]],
                env={
                    **{key: value for key, value in os.environ.items() if not key.startswith("VFQ_")},
                    "OMP_NUM_THREADS": "1",
                    "FAULT_POINTS": str(self.points),
                    **self._settings,
                    **self._environment.get(name, {}),
                },
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _keep(self) -> None:
        while not self._ending.wait(0.1):
            with self._lock:
                for name, process in list(self.processes.items()):
                    if process.poll() is not None and name not in self._resting and not self._ending.is_set():
                        self._launch(name)


@contextmanager
def cluster(folder: Path, store: ObjectStore, settings: Mapping[str, str], *, models: int = 1) -> Iterator[Cluster]:
    """Run the service on a Redis of its own; *settings* name the storage as processes see it."""
    server = RedisServer(folder / "redis")
    server.start()
    made = Cluster(folder, server, store, settings, models=models)
    try:
        with made.redis_proxy:
            try:
                made.start()
                yield made
            finally:
                made.stop()
    finally:
        server.kill()
