"""schemathesis's command line, told which things there are."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.schema import hooks
from bench.schema.world import World

#: Of the path parameters, so many name something that is there.
_PROBABILITY = 0.7
_COMMAND = (sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()")


@dataclass(frozen=True)
class Asked:
    """
    What came of a run.

    Attributes:
        routes: operations of the document
        requests: that were sent
        findings: what is wrong, in a line each
        exit_code: of the command

    """

    routes: int
    requests: int
    findings: list[str]
    exit_code: int


def ask(url: str, world: World, headers: Mapping[str, str], folder: Path, *, examples: int, seed: int) -> Asked:
    """Send what the document allows, and what it does not, to every route, with every check that is on by default.

    Args:
        url: of the service.
        world: what the parameters of addresses may name.
        headers: of every request.
        folder: for the report and what the command prints.
        examples: of random requests to each route, beside those that go through all bounds.
        seed: the same gives the same requests.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings, report = folder / "schemathesis.toml", folder / "report.json"
    settings.write_text(_settings(world))
    command = [*_COMMAND, "--no-color", "--config-file", str(settings), "run", f"{url}/openapi.json"]
    command += [
        "--max-examples",
        str(examples),
        "--seed",
        str(seed),
        "--continue-on-failure",
        "--request-timeout",
        "60",
    ]
    command += ["--report", "json", "--report-json-path", str(report)]
    command += [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    with (folder / "output").open("wb") as output:
        done = subprocess.run(command, stdout=output, stderr=output, cwd=folder, check=False)
    if not report.exists():
        raise SystemExit(f"schemathesis gave no report; see {folder / 'output'}")
    found = json.loads(report.read_text())
    findings = [*map(_line, found["failures"]), *map(str, found["errors"])]
    return Asked(found["operations"]["tested"], found["test_cases"]["generated"], findings, done.returncode)


def _settings(world: World) -> str:
    lines = [f'hooks = "{hooks.__name__}"']
    for name, values in world.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
    lines.append("[parameters]")
    lines += [f'"path.{name}" = {{ dictionary = "{name}", probability = {_PROBABILITY} }}' for name in world]
    return "\n".join(lines) + "\n"


def _line(failure: dict[str, Any]) -> str:
    return json.dumps(failure, ensure_ascii=False)[:2000]
