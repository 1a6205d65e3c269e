"""The one-machine stack as a user runs it: real processes, real Redis, the weight-free models."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from tests.cli.programs import alive, descendants, documents, environment, run, start, until

BASELINE = ("up", "--json", "--port", "0", "--models", "baseline", "--data")


class Up:
    """A running `up`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        self.told = json.loads(line)
        self.url: str = self.told["url"]
        self.all = [psutil.Process(process.pid), *descendants(process)]

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def weight_free(path: Path, *, device: str = "auto") -> Path:
    """Write a config.yml of the models that need no weights."""
    kinds = {"gate": "SpectralGateRestorer", "griffin-lim": "GriffinLimVocoder"}
    entries = [{"name": name, "model_type": kind, "device_config": {"device": device}} for name, kind in kinds.items()]
    path.write_text(json.dumps({"model_configs": entries}))  # JSON is YAML
    return path


@contextmanager
def up(data: Path) -> Iterator[Up]:
    process = start(*BASELINE, str(data))
    try:
        yield Up(process)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    path = tmp_path / "talk.wav"
    rng = np.random.default_rng(0)
    tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(32_000) / 32_000)
    soundfile.write(path, tone + 0.02 * rng.standard_normal(tone.size), 32_000)
    return path


def test_a_stack_restores_stops_clean_and_remembers(tmp_path: Path, talk: Path) -> None:
    data = tmp_path / 'data with "quotes" und Ümlaut'
    with up(data) as first:
        assert first.told == {"url": first.url, "pid": first.process.pid, "data": str(data)}
        done = run("restore", str(talk), "--server", first.url, "-o", str(tmp_path / "new.flac"), "--json")
        assert done.returncode == 0, done.stderr
        line = documents(done.stdout)[0]
        assert [model["model_type"] for model in line["models"]] == ["SpectralGateRestorer", "GriffinLimVocoder"]
        info = soundfile.info(tmp_path / "new.flac")
        assert (info.samplerate, info.frames, info.format) == (44_100, 44_100, "FLAC")

        second = run(*BASELINE, str(data))
        assert second.returncode == 1
        assert f"running on {data} already at {first.url}" in documents(second.stdout)[0]["error"]["message"]

        assert first.stop(signal.SIGINT) == 0
        assert until(lambda: not alive(first.all)), alive(first.all)

    with up(data) as again:
        job = documents(run("status", line["job_id"], "--server", again.url, "--json").stdout)[0]
        assert (job["status"], job["output"]["filename"]) == ("succeeded", "talk-restored.flac")
        again.process.kill()  # as a crash would: nobody tells the children
        assert until(lambda: not alive(again.all)), alive(again.all)
        assert len(again.all) >= 5


def test_a_part_that_dies_is_started_again_and_work_goes_on(tmp_path: Path, talk: Path) -> None:
    with up(tmp_path / "data") as stack:
        parts = psutil.Process(stack.process.pid).children()
        victims = [one for one in parts if one.name() == "redis-server" or one.cmdline()[-1] == "api"]
        assert len(victims) == 2
        for one in victims:
            one.kill()
        done = run("restore", str(talk), "--server", stack.url)
        assert done.returncode == 0, done.stderr
        children = descendants(stack.process)
        assert stack.stop(signal.SIGTERM) == 0
        assert until(lambda: not alive(children)), alive(children)


def test_a_part_that_cannot_start_stops_the_stack_with_its_reason(tmp_path: Path) -> None:
    config = weight_free(tmp_path / "config.yml", device="cuda:99")
    done = run("up", "--json", "--port", "0", "--data", str(tmp_path / "data"), "--config", str(config))
    assert done.returncode == 1
    message = documents(done.stdout)[0]["error"]["message"]
    assert "model worker ended (exit status 1)" in message
    assert "voicefixer-queue: gate cannot be loaded: Device 'cuda:99' is not here" in message
    assert "--device cpu" in message
    assert "Traceback" not in message


def test_restore_brings_its_own_stack_and_leaves_nothing(tmp_path: Path, talk: Path) -> None:
    config = weight_free(tmp_path / "config.yml")
    models = ("--config", str(config), "--restorer", "gate", "--vocoder", "griffin-lim")
    done = run("restore", str(talk), *models, env=environment(TMPDIR=str(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert soundfile.info(talk.with_name("talk-restored.wav")).frames == 44_100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yml", "talk-restored.wav", "talk.wav"]
    assert _with_temporary_folder(tmp_path) == []


def test_restore_says_why_its_own_stack_cannot_start(tmp_path: Path, talk: Path) -> None:
    bare = environment(HF_HOME=str(tmp_path / "hub"))
    done = run("restore", str(talk), "--models", "voicefixer", "--json", env=bare)
    assert done.returncode == 1
    assert documents(done.stdout)[0]["error"]["code"] == "stack_failed"
    assert "voicefixer-queue: VoiceFixer's weights are not on this machine" in done.stderr


def _with_temporary_folder(path: Path) -> list[psutil.Process]:
    """Processes that inherited this TMPDIR."""
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            if one.environ().get("TMPDIR") == str(path):
                found.append(one)
    return found
