import time
import uuid
from collections import deque

import pytest

from shared.jobs import JobInput, JobOptions, Manifest
from shared.keys import source_key
from shared.records import JobRecords, Repairs, Retention, Terms, connect
from shared.settings import Settings
from shared.storage import open_storage
from tests.support.standins import StandInRestorer, StandInVocoder
from worker.context import Context
from worker.engine import Engine
from worker.leases import Leases
from worker.task import perform
from worker.tasks import step_of


class Bench:
    """A worker without Celery: pieces wait in a list and are done one by one, in any order a test likes."""

    def __init__(self, redis_url, folder, engine, **settings):
        made = Settings(**settings)
        client = connect(redis_url)
        terms = Terms(lease=made.lease_seconds, attempts=made.max_attempts)
        self.records = JobRecords(client, prefix="w:", terms=terms)
        self.retention = Retention(client, prefix="w:")
        self.repairs = Repairs(client, prefix="w:", attempts=made.max_attempts)
        self.store = open_storage(f"file://{folder}")
        self.leases = Leases(self.records, every=made.lease_seconds / 4)
        self.waiting = deque()
        self.sent = []
        self.ctx = Context(made, self.records, self.retention, self.store, self, self.leases, engine)

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

    def step(self, at=0):
        message = self.waiting[at]
        del self.waiting[at]
        perform(self.ctx, step_of(message.piece.kind), message, owner=uuid.uuid4().hex)

    def run(self):
        while self.waiting:
            self.step()

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
        engine = Engine(restorer=restorer or StandInRestorer(), vocoder=vocoder or StandInVocoder())
        engines.append(engine)
        sizes = {"core_frames": 128, "context_frames": 64, "halo_frames": 80, "fade_frames": 32}
        return Bench(clean_redis, tmp_path / "objects", engine, **(sizes | settings))

    yield make
    for engine in engines:
        engine.close()
