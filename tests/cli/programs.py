"""Runs the command line as a user does: a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]


def environment(**settings: str) -> dict[str, str]:
    """Ours without its VFQ_ settings, and these instead."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("VFQ_")}
    return {**plain, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), **settings}


def run(
    *arguments: str, env: Mapping[str, str] | None = None, seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run `voicefixer-queue` to its end."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=seconds, env=env or environment(), cwd=ROOT
    )


def start(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start `voicefixer-queue`, with its output in pipes."""
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env or environment(),
        cwd=ROOT,
        # A shell's background job ignores Ctrl-C, and so would its children: the tests are to run there too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cli.main", *arguments]


def documents(text: str) -> list[dict[str, Any]]:
    """Every line of stdout as JSON."""
    return [json.loads(line) for line in text.splitlines()]


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def until(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
