"""One run: the service undisturbed, then under faults, then at rest."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from bench.chaos.clients import Door, Senders, parsed
from bench.chaos.havoc import API, Havoc
from bench.chaos.oracle import Oracle, sha256_of
from bench.chaos.processes import Crew
from bench.chaos.recordings import Kind, make_kinds
from bench.chaos.recovery import RecoveryWatch
from bench.chaos.report import Found, judge
from bench.chaos.roles import Role
from bench.chaos.schedule import Amounts, draw
from shared.settings import load_settings
from shared.storage import open_storage
from tests.support.http_proxy import HttpFaultProxy
from tests.support.ports import free_port
from tests.support.proxy import FaultProxy
from tests.support.redis import RedisServer, redis_server
from tests.support.swift import Bucket, make_bucket, swift_server

PREFIX = "vfq:"
AUDIO_WORKERS, MODEL_WORKERS = 2, 3
#: Small windows, so that a few seconds are several.
GEOMETRY = {"core_frames": 256, "context_frames": 64, "halo_frames": 80, "fade_frames": 32}
#: What would take an hour is swept within the run.
SETTINGS = GEOMETRY | {"orphan_seconds": 20, "visibility_timeout": 15}
#: Shares of requests and messages between outages.
ERRORS, CUTS, RESETS, REDIS_RESETS, DROPS, DOUBLES = 0.03, 0.03, 0.01, 0.0005, 0.1, 0.1
LATENCY = 0.01
CALL_SECONDS = (0.2, 0.5)
#: Of the time with faults, in which jobs are sent.
SENDING = 0.85
PATIENCE_SECONDS = 120.0
SETTLE_SECONDS = 90.0
_READY_SECONDS = 120.0
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Asked:
    """What a run is to be."""

    jobs: int
    kills: int
    seed: int
    minutes: float
    plain: bool = False
    folder: Path | None = None


class Soak:
    """The service, its servers and what disturbs it."""

    def __init__(self, asked: Asked, folder: Path, stack: ExitStack) -> None:
        self.asked = asked
        self.folder = folder
        self.server: RedisServer = stack.enter_context(redis_server(folder / "redis"))
        self.bucket: Bucket = make_bucket(stack.enter_context(swift_server(folder)))
        self.redis_proxy = stack.enter_context(FaultProxy(self.server.port, seed=asked.seed))
        self.storage_proxy = stack.enter_context(HttpFaultProxy(self.bucket.server.port, seed=asked.seed))
        self.client: redis.Redis = stack.enter_context(redis.Redis.from_url(self.server.url, decode_responses=True))
        self.oracle = Oracle(self.client, PREFIX, open_storage(self.bucket.url, **self.bucket.options))
        self.kinds = make_kinds(asked.seed, load_settings(**GEOMETRY))
        self.port = free_port()
        self.door = Door(self.port)
        self.calls = folder / "calls"
        self.calls.touch()
        self.crew = stack.enter_context(Crew(self.roles()))
        self.watch = RecoveryWatch(self.client, PREFIX)

    def roles(self, **troubles: float) -> dict[str, Role]:
        """Name the processes; *troubles* are their messages'."""
        environment = {
            **{f"VFQ_{name.upper()}": str(value) for name, value in SETTINGS.items()},
            **self.bucket.environment,
            "VFQ_REDIS_URL": f"redis://127.0.0.1:{self.redis_proxy.port}/0",
            "VFQ_S3_ENDPOINT": f"http://127.0.0.1:{self.storage_proxy.port}",
            "VFQ_API_PORT": str(self.port),
        }
        stages: dict[str, tuple[str, ...]] = {API: ()}
        stages |= {f"audio-{number}": ("audio",) for number in range(1, AUDIO_WORKERS + 1)}
        stages |= {f"models-{number}": ("restore", "vocode") for number in range(1, MODEL_WORKERS + 1)}
        return {
            name: Role(
                stages=served,
                environment=environment,
                log=self.folder / f"{name}.log",
                calls=self.calls,
                call_seconds=CALL_SECONDS,
                plain=self.asked.plain,
                **troubles,
            )
            for name, served in stages.items()
        }

    def count_calls(self) -> int:
        """Calls of networks so far."""
        return self.calls.stat().st_size

    def wait_ready(self) -> None:
        """Wait until the service takes work."""
        deadline = time.monotonic() + _READY_SECONDS
        while self.door.insist("GET", "/readyz", tries=1)[0] != 200:
            if time.monotonic() > deadline:
                raise SystemExit(f"the service is not ready; see the logs in {self.folder}")
            time.sleep(_LOOK_SECONDS)

    def undisturbed(self) -> dict[str, str]:
        """Do each kind once, without faults; gives the sha256 of its result."""
        ids: dict[str, Kind] = {}
        for kind in self.kinds:
            status, body = self.door.ask("POST", "/v1/jobs", kind.form)
            if status != 202:
                raise SystemExit(f"a job was not accepted: {status} {body.decode(errors='replace')}")
            ids[str(parsed(body)["id"])] = kind
        if left := self.wait_over(PATIENCE_SECONDS):
            raise SystemExit(f"undisturbed, {len(left)} jobs did not end; see the logs in {self.folder}")
        needed = sum(kind.calls for kind in self.kinds)
        if self.count_calls() != needed:
            raise SystemExit(f"undisturbed, there were {self.count_calls()} calls of networks and not {needed}")
        results = {kind.name: sha256_of(self.door, job_id) for job_id, kind in ids.items()}
        if len({*results.values(), ""}) <= len(results):
            raise SystemExit("the undisturbed results are not each another")
        for job_id in ids:
            self.door.insist("DELETE", f"/v1/jobs/{job_id}")
        return results

    def wait_over(self, seconds: float) -> set[str]:
        """Wait until all jobs have ended; gives those that have not in time."""
        deadline = time.monotonic() + seconds
        while left := self.oracle.unfinished():
            if time.monotonic() > deadline:
                break
            time.sleep(_LOOK_SECONDS)
        return left

    def disturbed(self) -> Senders:
        """Send jobs and let everything go wrong meanwhile; afterwards all servers are well, and work may be left."""
        asked, seconds = self.asked, 60.0 * self.asked.minutes
        self.crew.replace(self.roles(drop=DROPS, double=DOUBLES))
        self.storage_proxy.fail_some(ERRORS)
        self.storage_proxy.cut_some(CUTS)
        self.storage_proxy.reset_some(RESETS)
        self.storage_proxy.latency(LATENCY)
        self.redis_proxy.reset_some(REDIS_RESETS)
        havoc = Havoc(self.crew, self.server, self.redis_proxy, self.storage_proxy, self.watch, seed=asked.seed)
        senders = Senders(self.door, self.kinds, jobs=asked.jobs, seconds=SENDING * seconds)
        havoc.run(draw(asked.seed, seconds, Amounts(kills=asked.kills)))
        self.storage_proxy.calm()
        self.redis_proxy.calm()
        say(f"faults: {', '.join(f'{count} × {act}' for act, count in sorted(havoc.done.items()))}")
        say(f"processes that ended by themselves: {dict(self.crew.died) or 'none'}")
        if not senders.join(PATIENCE_SECONDS):
            raise SystemExit(f"not all jobs were accepted: {dict(senders.refused)}")
        say(f"refused and sent again: {dict(senders.refused) or 'none'}")
        return senders

    def settle(self) -> list[str]:
        """Wait until nothing is left that should not be; gives what stays."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while left := self.oracle.leftovers():
            if time.monotonic() > deadline:
                break
            time.sleep(_LOOK_SECONDS)
        return left

    def clear(self, job_ids: Sequence[str]) -> list[str]:
        """Delete all jobs through the API; gives what stays of them."""
        for job_id in job_ids:
            self.door.insist("DELETE", f"/v1/jobs/{job_id}")
        return self.settle()


def soak(asked: Asked) -> Found:
    """Do a run; gives what it has shown."""
    # What the processes inherit: one core is enough for each, and they are many.
    os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    with _folder(asked) as folder, ExitStack() as stack:
        run = Soak(asked, folder, stack)
        run.wait_ready()
        results = run.undisturbed()
        before = run.count_calls()
        say(f"undisturbed: {len(results)} kinds of jobs, {before} calls of networks")
        senders = run.disturbed()
        run.wait_over(PATIENCE_SECONDS)
        never = run.watch.stop()
        say(f"never taken up again: {len(never)}")
        leftovers = [] if asked.plain else run.settle()
        job_ids = sorted(run.oracle.job_ids() | set(senders.accepted))
        outcomes = run.oracle.outcomes(job_ids, run.door)
        calls = run.count_calls() - before
        say(f"the service's own counters: {run.oracle.stats()}")
        if not asked.plain:
            leftovers += run.clear(job_ids)
        return judge(
            outcomes,
            set(senders.accepted),
            results=results,
            needed={kind.name: kind.calls for kind in run.kinds},
            calls=calls,
            recovery=run.watch.samples,
            leftovers=leftovers,
        )


def say(text: str) -> None:
    """Tell how it goes, apart from the table."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


@contextmanager
def _folder(asked: Asked) -> Iterator[Path]:
    if asked.folder is not None:
        asked.folder.mkdir(parents=True, exist_ok=True)
        yield asked.folder
        return
    with tempfile.TemporaryDirectory(prefix="vfq-chaos-") as folder:
        yield Path(folder)
