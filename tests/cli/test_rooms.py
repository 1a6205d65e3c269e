"""The commands that run the other rooms, as processes against a real Redis."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis

from shared.presence import Presence
from tests.cli.programs import alive, documents, environment, run, start, until


@pytest.fixture
def settings(clean_redis: str, tmp_path: Path) -> dict[str, str]:
    return environment(
        VFQ_REDIS_URL=clean_redis,
        VFQ_STORAGE_URL=(tmp_path / "objects").as_uri(),
        VFQ_RESTORER="SpectralGateRestorer",
        VFQ_VOCODER="GriffinLimVocoder",
    )


@contextmanager
def workers(settings: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = start("worker", "--stages", "all", env=settings)
    try:
        assert until(lambda: len(psutil.Process(process.pid).children()) == 2)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_worker_for_all_stages_is_two_that_stop_together(settings: dict[str, str], clean_redis: str) -> None:
    with redis.Redis.from_url(clean_redis) as client, workers(settings) as process:
        assert until(lambda: all(Presence(client).count().values()), 60)
        children = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert alive(children) == []


def test_a_worker_for_all_stages_fails_when_one_half_dies(settings: dict[str, str]) -> None:
    with workers(settings) as process:
        children = psutil.Process(process.pid).children()
        os.kill(children[0].pid, signal.SIGKILL)
        assert process.wait(60) == 1
        assert alive(children) == []
        assert process.stderr is not None
        assert "ended (signal SIGKILL)" in process.stderr.read()


def test_a_port_that_cannot_be_stops_the_api_with_a_sentence(settings: dict[str, str]) -> None:
    done = run("api", "--port", "0", "--json", env=settings)
    assert done.returncode == 2
    assert documents(done.stdout)[0]["error"]["message"].startswith("VFQ_API_PORT")
