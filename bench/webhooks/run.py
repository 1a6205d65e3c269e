"""A run: real processes, a receiver that behaves badly, jobs that end in every way, and deaths in the middle."""

import io
import json
import os
import random
import subprocess
import sys
import time
import wave
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from standardwebhooks import Webhook

from bench.webhooks.judge import Found, Line, judge, missing
from bench.webhooks.receiver import Orders
from shared.storage import open_storage
from tests.support.cluster import OVER, Cluster, cluster
from tests.support.ports import free_port

_TIMEOUT = 0.6
SETTINGS = {
    "VFQ_OUTGOING_ALLOW": "127.0.0.1",
    "VFQ_WEBHOOK_TIMEOUT_SECONDS": str(_TIMEOUT),
    "VFQ_WEBHOOK_SCHEDULE": "0,0.2,0.4,0.4,0.6,0.6,0.8,1,1,1",
}
#: Ten attempts are made; of one message the receiver spoils fewer.
_SHARE, _MOST = 0.5, 6
_READY_SECONDS = 20.0
_LOOK_SECONDS = 0.05
#: Of ten jobs: one fails, one is canceled, one is too late.
_FAILS, _CANCELED, _LATE = 7, 8, 9
_ALL_EVENTS = "job.started,job.progress,job.succeeded,job.failed,job.canceled,job.expired"


@dataclass
class Run:
    """
    One run.

    Attributes:
        service: real processes
        folder: for the receiver's log
        jobs: how many
        patience: seconds to wait for all to be told when all are sent

    """

    service: Cluster
    folder: Path
    jobs: int
    patience: float
    port: int = field(default_factory=free_port)
    ids: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)

    @property
    def log(self) -> Path:
        """What the receiver has heard."""
        return self.folder / "receiver.jsonl"

    def lines(self) -> list[Line]:
        """Read it; its last line may be being written."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def do(self, *, seed: int) -> Found:
        """Do it, and judge."""
        began = time.monotonic()
        secrets = self._register()
        with self._receiver(secrets, seed):
            with ThreadPoolExecutor(1) as pool:
                sending = pool.submit(self._send_all)
                self._disturb(sending)
                sending.result()
            self._wait(lambda: not missing([one for one in self.lines() if "id" in one], self.ids))
            states = {job_id: self._ended(job_id) for job_id in self.ids}
            harm = self._accepted_harm(secrets)
            unsettled = self._unsettled()
            found = judge(self.lines(), states)
        found.unverified -= len(harm)  # what was tampered with
        found.accepted_harm = [name for name, status in harm.items() if status != 400]
        found.unsettled = unsettled
        found.kills = dict(self.kills)
        found.seconds = round(time.monotonic() - began, 1)
        return found

    def _register(self) -> dict[str, str]:
        """Register an endpoint; gives the secrets, by path."""
        url = f"http://127.0.0.1:{self.port}/endpoint"
        answer = self.service.client.post("/v1/webhooks", json={"url": url})
        answer.raise_for_status()
        own = self.service.client.get("/v1/webhooks/secret")
        return {"endpoint": answer.json()["secret"], "job": own.json()["secret"]}

    @contextmanager
    def _receiver(self, secrets: dict[str, str], seed: int) -> Iterator[None]:
        orders = Orders(
            port=self.port, secrets=secrets, log=self.log, share=_SHARE, most=_MOST, late=_TIMEOUT + 0.5, seed=seed
        )
        with (self.folder / "receiver.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.webhooks.receiver"],
                env={**os.environ, "RECEIVER": orders.model_dump_json()},
                stdout=output,
                stderr=output,
            )
        try:
            self._wait(self._receiver_answers, seconds=_READY_SECONDS)
            yield
        finally:
            process.terminate()
            process.wait(10)

    def _receiver_answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/", trust_env=False).status_code == 404
        except httpx.TransportError:
            return False

    # Jobs.

    def _send_all(self) -> None:
        sound = _sound()
        for number in range(self.jobs):
            self.ids.append(self._send(number, sound))

    def _send(self, number: int, sound: bytes) -> str:
        """Send a job under a name of its own until it is taken; Redis may be dead meanwhile."""
        kind = number % 10
        fields = {"webhook": f"http://127.0.0.1:{self.port}/job?token=t{number}"}
        if number % 2:
            fields["webhook_events_filter"] = _ALL_EVENTS
        if kind == _LATE:
            fields["deadline_seconds"] = "0.05"
        data = b"this is no recording" if kind == _FAILS else sound

        def put() -> httpx.Response:
            return self.service.client.put(f"/v1/jobs/tape-{number}", files={"file": ("a.wav", data)}, data=fields)

        job_id = str(self._insist(put).json()["id"])
        if kind == _CANCELED:
            self._insist(lambda: self.service.client.post(f"/v1/jobs/{job_id}/cancel"), also=(409,))
        return job_id

    def _insist(self, ask: Callable[[], httpx.Response], *, also: tuple[int, ...] = ()) -> httpx.Response:
        end = time.monotonic() + self.patience
        while True:
            try:
                answer = ask()
                if answer.is_success or answer.status_code in also:
                    return answer
                trouble = answer.text
            except httpx.TransportError as error:
                trouble = repr(error)
            if time.monotonic() > end:
                raise TimeoutError(f"the service does not answer: {trouble}\n{self.service.tail()}")
            time.sleep(0.2)

    def _ended(self, job_id: str) -> str:
        self._wait(lambda: str(self.service.records.state(job_id)) in OVER)
        return str(self._insist(lambda: self.service.client.get(f"/v1/jobs/{job_id}")).json()["status"])

    # Deaths.

    def _disturb(self, sending: Future[None]) -> None:
        """Kill workers and Redis, at shares of the jobs sent."""
        for share, what in ((0.2, "audio"), (0.4, "redis"), (0.55, "audio"), (0.7, "models-0"), (0.85, "both")):
            while len(self.ids) < share * self.jobs and not sending.done():
                time.sleep(_LOOK_SECONDS)
            if what in ("redis", "both"):
                self.service.redis.kill()
                self.kills["redis"] += 1
            if what != "redis":
                name = "audio" if what == "both" else what
                self.service.kill(name)
                self.kills[name] += 1
            if what in ("redis", "both"):
                time.sleep(random.uniform(0.5, 1.5))
                self.service.redis.start()

    # Afterwards.

    def _unsettled(self) -> list[str]:
        """Deliveries of ends that the service has not noted as delivered, when it had the time to."""
        left: list[str] = []

        def settled() -> bool:
            left[:] = [
                f"{one['id']} {one['state']}"
                for job_id in self.ids
                for one in self.service.client.get(f"/v1/jobs/{job_id}/deliveries").json()["deliveries"]
                if one["type"] != "job.progress" and one["state"] != "delivered"
            ]
            return not left

        self._wait(settled, seconds=15.0, every=0.5)
        return left

    def _accepted_harm(self, secrets: dict[str, str]) -> dict[str, int]:
        """Send what was tampered with, and give the receiver's answers."""
        line = next(line for line in self.lines() if line["how"] == "taken" and line["place"] == "job")
        return {name: self._post(harm(line, secrets["job"])) for name, harm in _HARMS.items()}

    def _post(self, message: tuple[dict[str, str], str]) -> int:
        headers, body = message
        url = f"http://127.0.0.1:{self.port}/job"
        return httpx.post(url, content=body, headers=headers, trust_env=False).status_code

    def _wait(self, come: Callable[[], bool], *, seconds: float | None = None, every: float = 0.05) -> bool:
        end = time.monotonic() + (self.patience if seconds is None else seconds)
        while not come():
            if time.monotonic() > end:
                return False
            time.sleep(every)
        return True


def run(folder: Path, *, jobs: int, seed: int, patience: float = 120.0) -> Found:
    """Run the service in a folder, with jobs that all must be told of."""
    url = f"file://{folder}/objects"
    with cluster(folder, open_storage(url), {"VFQ_STORAGE_URL": url, **SETTINGS}) as service:
        return Run(service, folder, jobs, patience).do(seed=seed)


def _tampered(line: Line, _: str) -> tuple[dict[str, str], str]:
    body = line["body"].replace(line["status"], "succeeded" if line["status"] != "succeeded" else "failed")
    return _signing_headers(line), body


def _foreign(line: Line, _: str) -> tuple[dict[str, str], str]:
    secret = "whsec_" + "A" * 43 + "="
    return _signed(line, secret, time.time()), line["body"]


def _old(line: Line, secret: str) -> tuple[dict[str, str], str]:
    return _signed(line, secret, time.time() - 600), line["body"]


def _signed(line: Line, secret: str, moment: float) -> dict[str, str]:
    timestamp = datetime.fromtimestamp(int(moment), UTC)
    headers = _signing_headers(line)
    headers["webhook-timestamp"] = str(int(moment))
    headers["webhook-signature"] = Webhook(secret).sign(line["id"], timestamp, line["body"])
    return headers


def _signing_headers(line: Line) -> dict[str, str]:
    return {name: value for name, value in line["headers"].items() if name.startswith("webhook-")}


#: Makes of a message that was taken one that must not verify.
_HARMS: dict[str, Callable[[Line, str], tuple[dict[str, str], str]]] = {
    "a tampered body": _tampered,
    "a foreign secret": _foreign,
    "an old timestamp": _old,
}


def _sound() -> bytes:
    """A second of noise, as WAV."""
    out: Any = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(random.Random(0).randbytes(2 * 44_100))
    data: bytes = out.getvalue()
    return data
