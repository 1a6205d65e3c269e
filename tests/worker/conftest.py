import time
import uuid
from collections import deque
from dataclasses import replace

import pytest

from shared.batches.records import BatchRecords
from shared.catalog import read_catalog
from shared.jobs import JobInput, JobOptions, Manifest
from shared.keys import source_key
from shared.queues import STAGES, lanes_of
from shared.records import JobRecords, Repairs, Retention, Terms, connect
from shared.settings import Settings
from shared.storage import open_storage
from tests.support.standins import StandInRestorer, StandInVocoder
from worker.attempts.company import Company
from worker.attempts.leases import Leases
from worker.context import Context
from worker.engine import engine_of
from worker.task import perform
from worker.tasks import step_of
from worker.upkeep.sweeper import Sweeper


class Bench:
    """A worker without Celery: pieces wait in a list and are done one by one, in any order a test likes."""

    def __init__(self, redis_url, folder, engine, **settings):
        made = Settings(**settings)
        self.client = client = connect(redis_url)
        terms = Terms(lease=made.lease_seconds, attempts=made.max_attempts)
        self.records = JobRecords(client, prefix="w:", terms=terms)
        self.retention = Retention(client, prefix="w:")
        self.batches = BatchRecords(client, prefix="w:")
        self.repairs = Repairs(client, prefix="w:", attempts=made.max_attempts)
        self.store = open_storage(f"file://{folder}")
        self.leases = Leases(self.records, every=made.lease_seconds / 4)
        self.waiting = deque()
        self.sent = []
        self.ctx = Context(
            made, self.records, self.retention, self.batches, self.store, self, self.leases, read_catalog(made), engine
        )

    def send(self, messages):
        for message in messages:
            self.sent.append(message.piece)
            self.waiting.append(message)

    def submit(self, data: bytes, *, filename="a.wav", **options):
        job_id = uuid.uuid4().hex
        self.store.put(source_key(job_id), data)
        source = JobInput(key=source_key(job_id), filename=filename, bytes=len(data))
        asked = Manifest(id=job_id, created_at=time.time(), input=source, options=JobOptions(**options))
        self.send(self.records.create(asked)[1])
        return job_id

    def submit_url(self, url: str, *, filename="a.wav", **options):
        job_id = uuid.uuid4().hex
        source = JobInput(key=source_key(job_id), url=url, filename=filename)
        asked = Manifest(id=job_id, created_at=time.time(), input=source, options=JobOptions(**options))
        self.send(self.records.create(asked)[1])
        return job_id

    def step(self, at=0):
        message = self.waiting[at]
        del self.waiting[at]
        perform(self.ctx, step_of(message.piece.kind), message, owner=uuid.uuid4().hex)

    def step_elsewhere(self, message):
        """Let another process take a piece whose lease has lapsed."""
        self.client.zadd("w:leases", {f"{message.job_id} {message.piece}": 0})
        elsewhere = replace(self.ctx, company=Company(), leases=Leases(self.records, every=1.0))
        perform(elsewhere, step_of(message.piece.kind), message, owner=uuid.uuid4().hex)

    def run(self):
        while self.waiting or self.repair():
            self.step()

    def next(self):
        """What is done next."""
        return self.waiting[0].piece

    def at(self, job_id):
        """Where the first message of a job waits."""
        return [message.job_id for message in self.waiting].index(job_id)

    def repair(self):
        """Let time pass: leases lapse, what was put off is due, and messages that are not here count as lost."""
        for shelf in ("w:leases", "w:later"):
            for name in self.client.zrange(shelf, 0, -1):
                self.client.zadd(shelf, {name: 0})
        found = [*self.repairs.expired(), *self.repairs.due()]
        here = {(message.lane, message.number) for message in [*self.waiting, *found]}
        suspects = self.repairs.suspects(dict.fromkeys(lanes_of(STAGES), True))
        found += self.repairs.resend(one for one in suspects if (one.lane, one.number) not in here)
        self.send(found)
        return bool(found)

    def sweep(self):
        """Let more time pass: what is to be tidied is due, and no worker writes any more."""
        for index in ("w:tidy", "w:gone"):
            for name in self.client.zrange(index, 0, -1):
                self.client.zadd(index, {name: 0})
        self.sweeper().look()

    def sweeper(self) -> Sweeper:
        """Make a sweeper that may lead."""
        self.client.delete("w:lead:sweeper")
        return Sweeper(self.ctx, self.repairs)

    def result(self, job_id) -> bytes:
        job = self.records.get(job_id)
        assert job.error is None, job.error
        return self.store.read(job.result_key)

    def objects(self, job_id):
        return sorted(info.key.removeprefix(f"jobs/{job_id}/") for info in self.store.list(f"jobs/{job_id}/"))


@pytest.fixture
def bench(clean_redis, tmp_path):
    """Make a bench with small windows; keyword arguments are settings."""
    engines = []

    def make(*, restorer=None, vocoder=None, **settings):
        engine = engine_of(restorer=restorer or StandInRestorer(), vocoder=vocoder or StandInVocoder())
        engines.append(engine)
        sizes = {"core_frames": 128, "context_frames": 64, "halo_frames": 80, "fade_frames": 32}
        return Bench(clean_redis, tmp_path / "objects", engine, **(sizes | settings))

    yield make
    for engine in engines:
        engine.close()
