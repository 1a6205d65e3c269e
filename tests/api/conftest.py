"""An application on a real Redis and a folder, and jobs in every state."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from api.app import create_app
from shared.connections import open_presence, open_records
from shared.jobs import Job, JobError, JobOutput, Priority
from shared.keys import job_prefix, result_key
from shared.presence import Presence
from shared.queues import queue_name
from shared.records import SPLIT, STITCH, Claim, JobRecords, Lane, Piece, connect
from shared.settings import Settings
from shared.storage import ObjectStore, open_storage

RESULT = bytes(range(256)) * 40


@dataclass
class Api:
    """A client of the application, and what stands behind it."""

    client: FlaskClient
    settings: Settings
    records: JobRecords
    store: ObjectStore
    presence: Presence
    redis: redis.Redis

    def submit(self, data: bytes = b"RIFF....", filename: str = "speech.wav", **fields: Any) -> dict[str, Any]:
        """Send a recording; gives the job."""
        answer = self.client.post("/v1/jobs", data={"file": (io.BytesIO(data), filename), **fields})
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json
        answer.close()
        return job

    def begin(self, job_id: str, piece: Piece = SPLIT) -> Claim:
        """Let a worker take the job, or another piece of it."""
        claim = self.records.claim(job_id, piece)
        assert isinstance(claim, Claim)
        return claim

    def split(self, job_id: str) -> None:
        """Let a worker split the job: it is one window."""
        sizes = {"pieces": 1, "reach": 1, "window": 4, "seconds": 30.0}
        assert self.records.complete_split(job_id, self.begin(job_id), **sizes)

    def work(self, job_id: str, piece: Piece, model: str = "Model") -> None:
        """Let a worker do a window."""
        assert self.records.complete(job_id, self.begin(job_id, piece), model=model)

    def succeed(self, job_id: str, data: bytes = RESULT, filename: str = "speech-restored.wav") -> str:
        """Let workers do all of the job; gives the address of its result."""
        self.split(job_id)
        for stage in self.job(job_id).manifest.options.stages:
            self.work(job_id, Piece(stage, 0))
        return self.stitch(job_id, data, filename)

    def stitch(self, job_id: str, data: bytes = RESULT, filename: str = "speech-restored.wav") -> str:
        """Let a worker finish the job; gives the address of its result."""
        claim = self.begin(job_id, STITCH)
        self.store.put(result_key(job_id, claim.attempt), data)
        output = JobOutput(
            format="wav", media_type="audio/wav", filename=filename, bytes=len(data), samples=5, sample_rate=44100
        )
        assert self.records.succeed(job_id, claim, output)
        return f"/v1/jobs/{job_id}/result"

    def fail(self, job_id: str) -> None:
        """Let the job fail."""
        error = JobError(code="undecodable", message="This is no audio.", stage="split")
        assert self.records.fail(job_id, error, self.begin(job_id))

    def job(self, job_id: str) -> Job:
        """Read the record."""
        job = self.records.get(job_id)
        assert job is not None
        return job

    def objects(self, job_id: str = "") -> list[str]:
        """Keys in storage, of one job or of all."""
        return [info.key for info in self.store.list(job_prefix(job_id) if job_id else "")]

    def waiting(self, priority: Priority = "interactive") -> int:
        """Messages that ask for a split."""
        length = self.redis.llen(self.settings.key_prefix + queue_name(Lane("split", priority)))
        assert isinstance(length, int)
        return length


def make_api(settings: Settings, store: ObjectStore) -> Api:
    """Put an application and its surroundings together."""
    app = create_app(settings, store=store)
    return Api(
        client=app.test_client(),
        settings=settings,
        records=open_records(settings, retries=1),
        store=store,
        presence=open_presence(settings, retries=1),
        redis=connect(settings.redis_url, retries=1),
    )


def folder_settings(redis_url: str, folder: Path, **more: Any) -> Settings:
    """Settings of a test, whatever the environment says."""
    return Settings(redis_url=redis_url, storage_url=f"file://{folder}", **more)


@pytest.fixture
def api(clean_redis: str, tmp_path: Path) -> Api:
    """On a folder."""
    settings = folder_settings(clean_redis, tmp_path / "store", max_upload_bytes=4 * 1024 * 1024)
    return make_api(settings, open_storage(settings.storage_url))


@pytest.fixture
def stored_api(clean_redis: str, store: ObjectStore) -> Api:
    """Once on a folder, once on S3."""
    return make_api(Settings(redis_url=clean_redis, storage_url="file:///nowhere"), store)
