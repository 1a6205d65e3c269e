"""A config.yml on the command line: where it reaches, and with what it does not go together."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cli import rooms
from cli.archive.order import Order
from cli.main import app
from cli.models import Models
from cli.stack import StackOptions, _wanted
from shared.settings import load_settings
from tests.cli.programs import documents


def entry(name: str, kind: str, **more: object) -> dict[str, object]:
    return {"name": name, "model_type": kind, "device_config": {"device": "cpu"}, **more}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump({"model_configs": [entry("gate", "SpectralGateRestorer")]}))
    return path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("up", "--models", "baseline"), "choose one"),
        (("restore", "CONFIG", "--models", "voicefixer"), "choose one"),
        (("archive", "FOLDER", "out", "--models", "baseline"), "choose one"),
        (("restore", "CONFIG", "--server", "http://127.0.0.1:1"), "the server has chosen its models"),
        (("archive", "FOLDER", "out", "--server", "http://127.0.0.1:1"), "the server has chosen its models"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(config: Path, arguments: tuple[str, ...], words: str) -> None:
    places = {"CONFIG": str(config), "FOLDER": str(config.parent)}
    done = CliRunner().invoke(app, [*(places.get(one, one) for one in arguments), "--config", str(config), "--json"])
    assert done.exit_code == 2
    (told,) = documents(done.stdout)
    assert told["error"]["code"] == "usage"
    assert "--config" in told["error"]["message"]
    assert words in told["error"]["message"]


@pytest.mark.parametrize("command", [("up",), ("api",), ("worker",), ("weights", "where")])
def test_a_file_that_is_not_there_is_a_usage_error(command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*command, "--config", "no-such.yml", "--json"])
    assert done.exit_code == 2
    assert "no-such.yml" in documents(done.stdout)[-1]["error"]["message"]


@pytest.mark.parametrize("command", [("up",), ("worker",)])
def test_a_file_that_is_wrong_stops_a_command_with_its_line(command: tuple[str, ...], config: Path) -> None:
    config.write_text(config.read_text() + "loaading: lazy\n")
    done = CliRunner().invoke(app, [*command, "--config", str(config), "--json"])
    assert done.exit_code == 2
    told = documents(done.stdout)[-1]["error"]
    assert told["code"] == "settings_error"
    assert "line 6: loaading: there is no such key; did you mean loading?" in told["message"]


def test_the_command_line_wins_over_the_environment(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFQ_CONFIG", "/another.yml")
    monkeypatch.chdir(config.parent)
    named = _wanted(StackOptions(config.parent, models=Models(config=Path("config.yml")), device="cuda:1"))
    settings = load_settings(**named)
    assert (settings.config, settings.device) == (str(config), "cuda:1")
    settings = load_settings(**_wanted(StackOptions(config.parent, models=Models("baseline"))))
    assert (settings.config, settings.restorer) == (None, "SpectralGateRestorer")
    assert load_settings().config == "/another.yml"


def test_a_stack_of_ones_own_gets_the_file_wherever_it_runs(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    assert Models(config=Path("config.yml")).arguments() == ("--config", str(config))
    assert Models("baseline").arguments() == ("--models", "baseline")
    assert Models().arguments() == ()


def test_all_stages_are_those_with_a_model_and_the_worker_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert rooms._wanted("all", ("restore", "vocode")) == ("audio", "restore", "vocode")
    assert capsys.readouterr().err == ""
    assert rooms._wanted("all", ("restore",)) == ("audio", "restore")
    assert "no model for vocode" in capsys.readouterr().err
    assert rooms._wanted("vocode", ("restore",)) == ("vocode",)


def test_a_stage_that_is_asked_for_needs_its_model(config: Path) -> None:
    done = CliRunner().invoke(app, ["worker", "--stages", "vocode", "--config", str(config), "--json"])
    assert done.exit_code == 2
    assert documents(done.stdout)[-1]["error"]["code"] == "settings_error"
    assert "no model for the stage vocode" in done.stderr


def test_an_archive_is_done_again_where_the_file_has_changed(config: Path) -> None:
    order = Order(config.parent, config.parent / "out", {}, Models(config=config))
    before = order.digest
    assert Order(config.parent, config.parent / "out", {}, Models(config=config)).digest == before
    assert Order(config.parent, config.parent / "out", {}).digest != before
    config.write_text(config.read_text().replace("gate", "gate-2"))
    assert Order(config.parent, config.parent / "out", {}, Models(config=config)).digest != before


def test_a_model_that_cannot_be_loaded_is_told_by_its_name_and_the_code_of_its_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from worker.models.errors import DeviceUnavailableError, ModelNotLoaded

    def refuse(*_: object, **__: object) -> None:
        raise ModelNotLoaded("gate", DeviceUnavailableError("Device 'cuda' is not here."), advice="Take --device cpu.")

    monkeypatch.setattr(rooms, "run_workers", refuse)
    done = CliRunner().invoke(app, ["worker", "--json"])
    assert done.exit_code == 1
    assert documents(done.stdout)[-1]["error"]["code"] == "device_unavailable"
    line = "voicefixer-queue: gate cannot be loaded: Device 'cuda' is not here. Take --device cpu."
    assert done.stderr.splitlines() == [line]
