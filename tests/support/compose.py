"""Reads docker-compose.yml as Compose does, as far as ours goes: .env, interpolation, profiles, env_file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / ".env.example"
VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<rest>[^}]*))?\})")
TIME = re.compile(r"(?:(\d+)m)?(?:(\d+)s)?")


class VariableMissing(Exception):
    """A variable that has no default is not set; the message is the file's own."""


@dataclass(frozen=True)
class Service:
    """One service with its variables filled in.

    Attributes:
        raw: the service as the file has it.
        environment: what its container would see, of .env and `environment`.
    """

    name: str
    raw: dict[str, Any]
    environment: dict[str, str]

    @property
    def dockerfile(self) -> Path | None:
        """Of a service that we build."""
        build = self.raw.get("build")
        return ROOT / build["context"] / build["dockerfile"] if build else None

    @property
    def command(self) -> list[str]:
        """What it runs."""
        return list(self.raw["command"])

    @property
    def grace_seconds(self) -> int:
        """How long it may take to stop."""
        minutes, seconds = TIME.fullmatch(self.raw["stop_grace_period"]).groups(default="0")
        return 60 * int(minutes) + int(seconds)


def parse_env(text: str) -> dict[str, str]:
    """Read a .env file."""
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name.strip(): value.strip() for name, _, value in pairs}


def uncommented(text: str) -> str:
    """A .env file in which every example is switched on."""
    return re.sub(r"(?m)^#(?=[A-Z0-9_]+=)", "", text)


def services(env: Mapping[str, str]) -> dict[str, Service]:
    """All services, of every profile, with .env being *env*."""
    content = yaml.safe_load(FILE.read_text())
    found = {name: interpolate(raw, env) for name, raw in content["services"].items()}
    return {
        name: Service(name, raw, (dict(env) if "env_file" in raw else {}) | raw.get("environment", {}))
        for name, raw in found.items()
    }


def interpolate(value: Any, env: Mapping[str, str]) -> Any:
    """Fill in ${NAME}, ${NAME:-default} and ${NAME:?message}."""
    if isinstance(value, dict):
        return {key: interpolate(inner, env) for key, inner in value.items()}
    if isinstance(value, list):
        return [interpolate(inner, env) for inner in value]
    return VARIABLE.sub(lambda match: _value(match, env), value) if isinstance(value, str) else value


def _value(match: re.Match[str], env: Mapping[str, str]) -> str:
    if match["dollar"]:
        return "$"
    value = env.get(match["name"], "")
    if value or match["how"] is None:
        return value
    if match["how"] == ":?":
        raise VariableMissing(match["rest"])
    return match["rest"]
