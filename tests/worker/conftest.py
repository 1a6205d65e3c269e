import time
import uuid
from collections import deque

import pytest

from shared.jobs import JobInput, JobOptions, Manifest
from shared.keys import source_key
from shared.records import SPLIT, JobRecords, connect
from shared.settings import Settings
from shared.storage import open_storage
from tests.support.standins import StandInRestorer, StandInVocoder
from worker.context import Context
from worker.engine import Engine
from worker.task import perform
from worker.tasks import step_of


class Bench:
    """A worker without Celery: pieces wait in a list and are done one by one, in any order a test likes."""

    def __init__(self, redis_url, folder, engine, **settings):
        self.records = JobRecords(connect(redis_url), prefix="w:")
        self.store = open_storage(f"file://{folder}")
        self.waiting = deque()
        self.sent = []
        self.ctx = Context(Settings(**settings), self.records, self.store, self, engine)

    def send(self, job_id, pieces, priority):
        for piece in pieces:
            self.sent.append(piece)
            self.waiting.append((job_id, piece))

    def submit(self, data: bytes, *, filename="a.wav", **options):
        job_id = uuid.uuid4().hex
        self.store.put(source_key(job_id), data)
        source = JobInput(key=source_key(job_id), filename=filename, bytes=len(data))
        self.records.create(Manifest(id=job_id, created_at=time.time(), input=source, options=JobOptions(**options)))
        self.send(job_id, [SPLIT], "interactive")
        return job_id

    def step(self, at=0):
        job_id, piece = self.waiting[at]
        del self.waiting[at]
        perform(self.ctx, step_of(piece.kind), job_id, piece)

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
