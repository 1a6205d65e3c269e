import subprocess
import sys

import numpy as np
import pytest
from structlog.testing import capture_logs

from shared.errors import SettingsError
from shared.jobs import JobInput, JobOptions, Manifest
from shared.presence import Presence
from shared.records import SPLIT, JobRecords, connect
from shared.settings import Settings
from tests.support.ports import free_port
from worker.attempts.leases import Leases
from worker.main import _Beat, _catalog, _concurrency, _handover

#: A worker that has nothing in hand.
NOTHING = Leases(None, every=1.0)


def test_a_worker_tells_that_it_lives_until_it_ends(clean_redis):
    presence = Presence(connect(clean_redis))
    beat = _Beat(Settings(redis_url=clean_redis), ["audio"], None, NOTHING)
    with beat:
        beat.begin()
        while not presence.count()["audio"]:
            pass
    assert presence.count() == {"audio": 0, "restore": 0, "vocode": 0}


@pytest.mark.timeout(20)
def test_a_worker_ends_also_while_redis_is_away():
    with _Beat(Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0"), ["audio"], None, NOTHING) as beat:
        beat.begin()


@pytest.mark.parametrize(("seconds", "statuses"), [(99, []), (101, [70])])
def test_a_worker_that_cannot_let_go_of_a_piece_ends(clean_redis, monkeypatch, seconds, statuses):
    ended, leases = [], Leases(None, every=1.0)
    monkeypatch.setattr("worker.main.os._exit", ended.append)
    monkeypatch.setattr(leases, "longest", lambda: seconds)
    _Beat(Settings(redis_url=clean_redis, piece_deadline_seconds=100), ["audio"], None, leases)._watch()
    assert ended == statuses


def test_a_worker_for_audio_alone_never_loads_torch():
    """It would cost some 250 MB and two seconds at each start."""
    code = (
        "import sys, worker.main; from worker.tasks import step_of; from shared.queues import STAGES;"
        "[step_of(kind) for kind in STAGES['audio']]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_vocoder_knows_whether_it_is_the_only_one(clean_redis):
    presence = Presence(connect(clean_redis))
    beat = _Beat(Settings(redis_url=clean_redis), ["restore", "vocode"], None, NOTHING)
    assert not beat.alone, "not before it has asked"
    with beat:
        beat.begin()
        while not beat.alone:
            pass
    presence.announce("another", ["vocode"], ttl=60)
    beat = _Beat(Settings(redis_url=clean_redis), ["restore", "vocode"], None, NOTHING)
    with beat:
        beat.begin()
        while presence.count()["vocode"] < 2:
            pass
    assert not beat.alone


def test_only_a_worker_of_both_model_stages_hands_mels_over(clean_redis):
    records = JobRecords(connect(clean_redis))
    beat = _Beat(Settings(mel_handover="memory"), ["vocode"], None, NOTHING)
    assert _handover(Settings(), ["vocode"], beat, records) is None
    mel = np.ones((1, 4, 128), np.float32)
    for handover, alone, suffices in [("storage", True, False), ("memory", False, False), ("memory", True, True)]:
        beat.alone = alone
        mels = _handover(Settings(mel_handover=handover), ["restore", "vocode"], beat, records)
        assert mels.hold("a", mel, job_id="1", readers=[0]) is suffices
        assert (mels.get("a") is not None) is suffices


def test_mels_of_jobs_that_ended_make_room_in_a_worker(clean_redis):
    records = JobRecords(connect(clean_redis))
    beat = _Beat(Settings(), ["restore", "vocode"], None, NOTHING)
    beat.alone = True
    mels = _handover(Settings(mel_handover="memory", mel_memory_mib=1), ["restore", "vocode"], beat, records)
    source = JobInput(key="incoming/a.wav", filename="a.wav", bytes=1)
    records.create(Manifest(id="1", created_at=1.0, input=source, options=JobOptions()))
    records.claim("1", SPLIT)
    mel = np.ones((1, 256, 128), np.float32)
    assert all(mels.hold(str(number), mel, job_id="1", readers=[0]) for number in range(8))
    assert not mels.hold("more", mel, job_id="1", readers=[0])
    records.cancel("1")
    assert mels.hold("more", mel, job_id="2", readers=[0])


CONFIG = """
model_configs:
  - {name: r, model: ./nowhere, model_type: VoiceFixerRestorer, language: en, device_config: {device: cpu}}
"""


def test_a_stage_without_a_model_is_a_wrong_setting_and_notes_of_the_file_are_told(tmp_path):
    (tmp_path / "config.yml").write_text(CONFIG)
    settings = Settings(config=str(tmp_path / "config.yml"))
    with capture_logs() as lines:
        assert _catalog(settings, ["audio", "restore"]).default("restore").name == "r"
    assert [line["log_level"] for line in lines] == ["warning"] * len(lines)
    assert any("language" in line["event"] for line in lines)
    with pytest.raises(SettingsError, match="no model for the stage vocode"):
        _catalog(settings, ["restore", "vocode"])


def test_twice_as_many_tasks_run_as_windows_are_computed_at_once():
    class Computing:
        at_once = 6

    assert _concurrency(Settings(), ["restore"], Computing()) == 12
    Computing.at_once = 0  # no device is open yet: all models wait, and none of theirs is here
    assert _concurrency(Settings(), ["restore"], Computing()) == 2
    assert _concurrency(Settings(audio_concurrency=3), ["audio"], None) == 3


@pytest.mark.parametrize(("alive", "busy", "statuses"), [(True, 99, []), (False, 0, [70]), (True, 101, [70])])
def test_a_worker_whose_model_threads_hang_ends(clean_redis, monkeypatch, alive, busy, statuses):
    class Hanging:
        def alive(self):
            return alive

        def busy_seconds(self):
            return busy

    ended = []
    monkeypatch.setattr("worker.main.os._exit", ended.append)
    _Beat(Settings(redis_url=clean_redis, batch_deadline_seconds=100), ["restore"], Hanging(), NOTHING)._watch()
    assert ended == statuses
