"""A small run of the bench: the real service, the real command, a SIGKILL in the middle."""

from pathlib import Path

from bench.archive.trial import try_out


def test_an_archive_comes_through_a_kill_each_file_once(tmp_path: Path) -> None:
    trial = try_out(tmp_path, files=24, broken=8, kills=1, jobs=4)
    assert trial.problems == []
    assert (trial.status, trial.restored, trial.failed) == (2, 24, 8)
    assert trial.errors == {
        "file_empty": 1,
        "audio_unreadable": 4,
        "audio_empty": 1,
        "audio_not_finite": 1,
        "audio_too_many_channels": 1,
    }
    assert trial.jobs == 24 + 7  # the empty file was refused before it became one
