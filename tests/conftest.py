"""Fixtures that several rooms share: real servers, started once a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from shared.storage import ObjectStore, open_storage
from shared.storage.s3 import S3Store
from tests.support.redis import redis_server
from tests.support.swift import Bucket, SwiftServer, make_bucket, swift_server

if TYPE_CHECKING:
    from bench.reference import Signal, Stages


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis with an append-only file, shared by the session."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def clean_redis(redis_url: str) -> str:
    """The session's Redis, emptied for this test."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    return redis_url


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    """A real S3 server, shared by the session."""
    with swift_server(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture
def s3_bucket(s3_server: SwiftServer) -> Bucket:
    """An empty bucket of the test's own."""
    return make_bucket(s3_server)


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store: once a folder, once a bucket under a prefix."""
    if request.param == "folder":
        return open_storage(f"file://{tmp_path}/store")
    bucket: Bucket = request.getfixturevalue("s3_bucket")
    return S3Store(bucket.server.connection, bucket=bucket.name, prefix="some/prefix/")


@pytest.fixture(scope="session")
def random_weights() -> Path:
    """A folder with the two checkpoint files, random and calibrated; written once and kept between runs."""
    from bench.weights import ensure_weights

    return ensure_weights(Path(__file__).parents[1] / "build" / "random-weights-seed0")


@pytest.fixture(scope="session")
def package_stages(random_weights: Path) -> list[tuple[Signal, Stages]]:
    """What the voicefixer package makes of two signals, in mode 0 and in mode 2, with the random weights."""
    from bench.reference import Signal, run_reference
    from bench.signals import speech_like

    signals = [
        Signal(speech_like(441 * 60 + 123, 1)),
        Signal(speech_like(441 * 133 + 440, 2), mode=2, seed=17),
    ]
    return list(zip(signals, run_reference(random_weights, signals), strict=True))
