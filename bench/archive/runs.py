"""Runs of the command: started, killed by SIGKILL in the middle, started again."""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.processes import own_command, tail

_POLL_SECONDS = 0.05
_MANIFEST = ".voicefixer-archive.jsonl"


@dataclass(frozen=True)
class Asked:
    """What the command is called with."""

    source: Path
    target: Path
    report: Path
    url: str
    jobs: int

    def command(self, *more: str) -> tuple[str, ...]:
        """Make the command."""
        return own_command(
            *("archive", str(self.source), str(self.target), "--recursive", "--server", self.url),
            *("--jobs", str(self.jobs), "--report", str(self.report), "--json", *more),
        )


def run_killed(asked: Asked, lines: int, *more: str) -> float:
    """Run until the manifest has so many lines, and kill; gives the seconds.

    Raises:
        SystemExit: if it has ended before.
    """
    began = time.monotonic()
    process = _start(asked, *more)
    try:
        while _lines(asked.target / _MANIFEST) < lines:
            if process.poll() is not None:
                told = "\n".join(tail(asked.report.with_suffix(".log")))
                raise SystemExit(f"the command has ended ({process.returncode}) before it could be killed:\n{told}")
            time.sleep(_POLL_SECONDS)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return time.monotonic() - began


def run_to_end(asked: Asked, *more: str) -> tuple[int, float]:
    """Run to the end; gives exit status and seconds."""
    began = time.monotonic()
    return _start(asked, *more).wait(), time.monotonic() - began


def read_report(path: Path) -> dict[str, dict[str, Any]]:
    """Read a report, by the paths of the files."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    found = {line["path"]: line for line in lines}
    if len(found) != len(lines):
        raise SystemExit("the report has a file twice")
    return found


def _start(asked: Asked, *more: str) -> subprocess.Popen[bytes]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("VFQ_")}
    with asked.report.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(asked.command(*more), env=plain, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0
