import os
import stat
from pathlib import Path

import pytest

from cli import folder as folders
from cli.errors import StackError, StackRunning
from cli.folder import claim, default_folder, told


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_PATIENCE_SECONDS", 0.1)


def test_a_data_folder_is_claimed_by_one_at_a_time(tmp_path: Path) -> None:
    with claim(tmp_path / "data") as folder:
        folder.tell(pid=7, url="http://127.0.0.1:1234")
        assert told(tmp_path / "data") == {"pid": 7, "url": "http://127.0.0.1:1234"}
        with (
            pytest.raises(StackRunning, match=r"already at http://127\.0\.0\.1:1234 \(process 7\)"),
            claim(folder.path),
        ):
            pass
    assert told(tmp_path / "data") == {}
    with claim(tmp_path / "data"):
        assert told(tmp_path / "data") == {"pid": os.getpid()}


def test_what_lies_in_a_data_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    with claim(tmp_path / "data") as folder:
        for path in (folder.path, folder.redis, folder.objects, folder.log("api"), folder.path / "lock"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_the_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    with claim(tmp_path) as folder:
        folder.log("api").write_text("first")
        assert folder.log("api").read_text() == ""
        assert (tmp_path / "logs" / "api.log.1").read_text() == "first"


def test_a_folder_that_cannot_be_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="cannot be used as a data folder"), claim(tmp_path / "file" / "data"):
        pass


def test_the_default_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert default_folder() == Path("/somewhere/voicefixer-queue")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")  # which the specification says to ignore
    monkeypatch.setenv("HOME", "/home/one")
    assert default_folder() == Path("/home/one/.local/share/voicefixer-queue")
