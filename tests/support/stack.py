"""The service as real processes: gunicorn and Celery workers, started through the command line's own commands."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.ports import free_port

READY_SECONDS = 90
OVER = ("succeeded", "failed", "canceled", "expired")
BASELINE = {"VFQ_RESTORER": "SpectralGateRestorer", "VFQ_VOCODER": "GriffinLimVocoder"}


@dataclass
class Stack:
    """A running service.

    Attributes:
        client: HTTP to its API.
        processes: by name; their output is in `folder`.
    """

    folder: Path
    client: httpx.Client
    processes: dict[str, subprocess.Popen]

    def submit(self, data: bytes, *, filename="a.wav", **fields) -> dict:
        """Submit a recording that must be accepted; gives the job."""
        answer = self.post(data, filename=filename, **fields)
        assert answer.status_code == 202, answer.text
        return answer.json()

    def post(self, data: bytes, *, filename="a.wav", **fields) -> httpx.Response:
        """Submit a recording; gives the answer, whatever it is."""
        texts = {name: str(value) for name, value in fields.items()}
        return self.client.post("/v1/jobs", files={"file": (filename, data)}, data=texts)

    def wait(self, job: dict, *, seconds=120.0) -> dict:
        """Poll until a job is over."""
        end = time.monotonic() + seconds
        while job["status"] not in OVER:
            assert time.monotonic() < end, f"still {job['status']}: {job['progress']}\n{self.logs()}"
            time.sleep(0.05)
            job = self.client.get(job["urls"]["self"]).json()
        return job

    def restore(self, data: bytes, **fields) -> tuple[dict, bytes]:
        """Run a job that must succeed; gives it and its result."""
        job = self.wait(self.submit(data, **fields))
        assert job["status"] == "succeeded", job["error"]
        result = self.client.get(job["urls"]["result"])
        assert result.status_code == 200
        return job, result.content

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))


@contextmanager
def stack(folder: Path, *, redis_url: str, **environment: str) -> Iterator[Stack]:
    """Run an API, an audio worker and a model worker; *environment* adds to or replaces the settings."""
    folder.mkdir(parents=True, exist_ok=True)
    objects = folder / "objects"
    objects.mkdir(exist_ok=True)
    port = free_port()
    settings = {
        **BASELINE,
        "VFQ_REDIS_URL": redis_url,
        "VFQ_STORAGE_URL": f"file://{objects}",
        "VFQ_GRIFFIN_LIM_ITERATIONS": "4",
        "VFQ_API_PORT": str(port),
        **environment,
    }
    commands = {
        "api": ["api"],
        "audio": ["worker", "--stages", "audio"],
        "models": ["worker", "--stages", "restore,vocode"],
    }
    processes = {name: _start(folder / f"{name}.log", command, settings) for name, command in commands.items()}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        running = Stack(folder, client, processes)
        try:
            _wait_ready(running)
            yield running
        finally:
            for process in processes.values():
                process.terminate()
            for process in processes.values():
                process.wait(60)


def _start(log: Path, arguments: list[str], settings: dict[str, str]) -> subprocess.Popen:
    with log.open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "cli.main", *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1", **settings},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _wait_ready(running: Stack) -> None:
    end = time.monotonic() + READY_SECONDS
    while True:
        try:
            if running.client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        dead = [name for name, process in running.processes.items() if process.poll() is not None]
        assert not dead, f"{dead} ended\n{running.logs()}"
        assert time.monotonic() < end, f"not ready\n{running.logs()}"
        time.sleep(0.1)
