from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from tests.cli.programs import documents

FILES = ("vf.ckpt", "model.ckpt-1490000_trimed.pt")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub's cache is empty and the hub must not be asked."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("VFQ_WEIGHTS_DIR", raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)  # in this process: each of its own would load torch again


def test_where_names_what_is_missing() -> None:
    done = run("weights", "where", "--json")
    assert done.exit_code == 1
    assert documents(done.stdout) == [{"files": dict.fromkeys(FILES)}]


def test_where_finds_a_folder(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).write_bytes(b"")
    done = run("weights", "where", "--json", "--dir", str(tmp_path))
    assert done.exit_code == 0, done.stderr
    assert documents(done.stdout) == [{"files": {name: str(tmp_path / name) for name in FILES}}]


def test_verify_tells_what_is_wrong_with_each_file(tmp_path: Path) -> None:
    (tmp_path / FILES[0]).write_bytes(b"no checkpoint at all")
    done = run("weights", "verify", "--json", "--dir", str(tmp_path))
    assert done.exit_code == 1
    told = documents(done.stdout)[0]
    assert told["ok"] is False
    assert [file["error"]["code"] for file in told["files"]] == ["checkpoint_unreadable"] * 2
    assert "no whole checkpoint" in told["files"][0]["error"]["message"]
    assert "Traceback" not in done.stderr


def test_verify_says_of_a_file_that_is_not_there_that_it_cannot_be_read(tmp_path: Path) -> None:
    done = run("weights", "verify", "--dir", str(tmp_path))
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [f"{tmp_path / file}: CANNOT BE READ" for file in FILES]


def test_pull_says_why_it_cannot() -> None:
    done = run("weights", "pull", "--json")
    assert done.exit_code == 1
    assert documents(done.stdout)[0]["error"]["code"] == "weights_unavailable"
    assert "HF_HUB_OFFLINE" in done.stderr


def test_a_stack_without_weights_stops_before_anything_starts(tmp_path: Path) -> None:
    done = run("up", "--port", "0", "--data", str(tmp_path / "data"))
    assert done.exit_code == 1
    assert "weights pull" in done.stderr
    assert "--models baseline" in done.stderr
    assert not (tmp_path / "data").exists()
