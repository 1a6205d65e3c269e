import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import weights
from cli.errors import WeightsMissing
from cli.main import app
from shared.settings import load_settings
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


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config.yml with a restorer in a folder, another that waits, and one without weights."""
    path = tmp_path / "config.yml"
    device = {"device_config": {"device": "cpu"}}
    kinds = {"model_type": "VoiceFixerRestorer", **device}
    entries = [
        {"name": "own", "model": str(tmp_path / "own"), **kinds},
        {"name": "late", "model": "me/mine", "loading": "lazy", **kinds},
        {"name": "gl", "model_type": "GriffinLimVocoder", **device},
    ]
    path.write_text(json.dumps({"model_configs": entries}))
    (tmp_path / "own").mkdir()
    return path


def test_where_tells_of_each_model_of_a_config(config: Path) -> None:
    own = config.parent / "own" / FILES[0]
    own.write_bytes(b"")
    done = run("weights", "where", "--json", "--config", str(config))
    assert done.exit_code == 1
    assert documents(done.stdout) == [{"files": {f"own: {FILES[0]}": str(own), f"late: {FILES[0]}": None}}]


def test_only_what_is_loaded_at_the_start_is_required_at_the_start(config: Path) -> None:
    settings = load_settings(config=str(config))
    assert weights.missing(settings) == [f"own: {FILES[0]}"]
    with pytest.raises(WeightsMissing, match=r"own: vf\.ckpt.*--config FILE.*`model`"):
        weights.require(settings)
    (config.parent / "own" / FILES[0]).write_bytes(b"")
    weights.require(settings)


def test_pull_fetches_for_every_model_of_a_config(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.models import hub

    (config.parent / "own" / FILES[0]).write_bytes(b"")
    asked = []

    def download(repository: str, file: str, **_: object) -> str:
        asked.append((repository, file))
        if file != FILES[0]:
            raise OSError("no such file")
        return str(config.parent / "fetched" / file)

    monkeypatch.setattr(hub, "_why_not_to_ask", lambda: "")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    found = weights.fetch(load_settings(config=str(config)))
    assert found == [config.parent / name / FILES[0] for name in ("own", "fetched")]
    assert {repository for repository, _ in asked} == {"me/mine"}


def test_a_folder_that_is_not_there_is_told_with_its_model(config: Path) -> None:
    (config.parent / "own").rmdir()
    done = run("up", "--port", "0", "--data", str(config.parent / "data"), "--config", str(config))
    assert done.exit_code == 1
    assert "own: " in done.stderr
    assert "own is not there" in done.stderr


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
