"""Reads our Dockerfiles, and lays out what an image would hold so that its programs run without Docker."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = "voicefixer-queue"
BLOCKER = """\
import sys

ABSENT = {absent!r}


class Filter:
    def __init__(self, finder):
        self._finder = finder

    def __getattr__(self, name):
        return getattr(self._finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else self._finder.find_spec(name, path, target)


sys.meta_path[:] = [Filter(finder) for finder in sys.meta_path]
"""


@dataclass(frozen=True)
class Dockerfile:
    """A Dockerfile as a list of instructions, such as `("COPY", "api ./api")`."""

    path: Path
    instructions: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """The arguments of every instruction of this name."""
        return [rest for word, rest in self.instructions if word == name]

    @property
    def sources(self) -> list[str]:
        """What it copies from the repository."""
        copies = [rest.split() for rest in self.all("COPY") if not rest.startswith("--from")]
        return [source for words in copies for source in words[:-1]]

    @property
    def command(self) -> list[str]:
        """What a container runs by default."""
        return list(json.loads(self.all("CMD")[-1]))

    @property
    def extras(self) -> set[str]:
        """The extras of the project that it installs, where its build is given no arguments."""
        given = dict(rest.replace('"', "").split("=", 1) for rest in self.all("ARG"))
        filled = [re.sub(r"\$\{(\w+)\}", lambda match: given.get(match[1], ""), rest) for rest in self.all("RUN")]
        installed = [rest for rest in filled if "pip install -c" in rest]
        return {
            extra for rest in installed for some in re.findall(r"\.\[([\w,]+)\]", rest) for extra in some.split(",")
        }


def read_dockerfile(path: Path) -> Dockerfile:
    """Read one."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    pairs = [line.split(None, 1) for line in joined.splitlines()]
    return Dockerfile(path, tuple((word.upper(), rest) for word, rest in pairs))


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets a path of the repository through; the last pattern that fits decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip().removeprefix("!")
        if pattern and not pattern.startswith("#") and fnmatch(path, pattern):
            sent = line.startswith("!")
    return sent


def installed_with(extras: Iterable[str]) -> set[str]:
    """Names of all distributions that the project needs with these extras, as they are installed here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    waiting = [Requirement(text) for text in project["dependencies"]]
    waiting += [Requirement(text) for extra in extras for text in optional[extra]]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        mark = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if mark not in seen and mark[0] != PROJECT:
            seen.add(mark)
            waiting += _needs(wanted)
    return {name for name, _ in seen}


def stage(dockerfile: Dockerfile, folder: Path) -> None:
    """Copy into *folder* what the image holds, and hide there every installed package that it lacks.

    A Python that is started with *folder* as its PYTHONPATH and working folder sees no more than the image's would.
    """
    folder.mkdir(parents=True)
    for source in dockerfile.sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, folder / source)
    there = installed_with(dockerfile.extras)
    absent = {
        module
        for module, owners in packages_distributions().items()
        if not {canonicalize_name(owner) for owner in owners} & {*there, PROJECT}
    }
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - set(dockerfile.sources)
    (folder / "sitecustomize.py").write_text(BLOCKER.format(absent=sorted(absent | rooms)))


def _needs(wanted: Requirement) -> list[Requirement]:
    try:
        texts = requires(wanted.name) or []
    except PackageNotFoundError:
        return []
    found = [Requirement(text) for text in texts]
    contexts = [{"extra": extra} for extra in (wanted.extras or {""})]
    return [one for one in found if one.marker is None or any(one.marker.evaluate(context) for context in contexts)]
