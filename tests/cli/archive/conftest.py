import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.archive.order import Order
from cli.main import app


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("VFQ_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three recordings, two of them in a folder, and a stranger."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.wav", "sub/b.mp3", "sub/c.wav"):
        (folder / name).write_bytes(f"sound of {name}".encode())
    (folder / "notes.txt").write_text("not a sound")
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def order(source: Path, target: Path) -> Callable[..., Order]:
    def make(**facts: Any) -> Order:
        return Order(source, target, {"priority": "bulk"}, recursive=True, **facts)

    return make


@pytest.fixture
def archive(source: Path, target: Path) -> Callable[..., Result]:
    """Runs the command in this process, with --recursive and --json."""

    def run(url: str | None, *more: str) -> Result:
        server = ("--server", url) if url else ()
        return CliRunner().invoke(app, ["archive", str(source), str(target), "--recursive", "--json", *server, *more])

    return run
