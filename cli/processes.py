"""A child process: in a session of its own, tied to our life, with a log of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from cli import tether
from cli.errors import StackError

_LOG_LINES = 12
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Program:
    """
    What to run.

    Attributes:
        name: for people, such as "api"
        command: the program and its arguments
        log: file that takes its output; None leaves it on our stderr
        environment: added to ours
        stdin: given to it, then end of file
        inherit: file descriptors that it keeps open

    """

    name: str
    command: tuple[str, ...]
    log: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    inherit: tuple[int, ...] = ()


def own_command(*arguments: str) -> tuple[str, ...]:
    """Make the command that runs `voicefixer-queue` with the same Python."""
    return (sys.executable, "-m", "cli.main", *arguments)


class Process:
    """
    A program that runs.

    Start it from the main thread: the kernel ties it to the thread that forks. It gets a process group of its own,
    so that Ctrl-C in a terminal reaches us alone, and we choose the order in which children stop.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._popen = _start(program)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def status(self) -> int | None:
        """Tell its exit status (negative: the signal that ended it), or None while it runs."""
        if self._popen.returncode is None:
            # Left as it is until `kill`, so that its number, which is its group's too, stays its own.
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return None
            return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        return self._popen.returncode

    def terminate(self) -> None:
        """Ask it to end."""
        if self._popen.returncode is None:
            os.kill(self.pid, signal.SIGTERM)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; False if it still runs then."""
        deadline = time.monotonic() + seconds
        while self.status() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def kill(self) -> None:
        """End it and what it started, at once."""
        if self._popen.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()

    def ending(self) -> str:
        """Say how it ended, with the last lines of its log."""
        status = self.status()
        how = "still runs" if status is None else f"ended ({_describe(status)})"
        lines = tail(self.program.log) if self.program.log else []
        shown = "".join(f"\n  | {line}" for line in lines)
        return f"{self.program.name} {how}" + (f"; the end of {self.program.log}:{shown}" if shown else "")


def tail(log: Path, lines: int = _LOG_LINES) -> list[str]:
    """Read the last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return text.splitlines()[-lines:]


def _start(program: Program) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), *program.command]
    output: IO[bytes] | None = program.log.open("ab") if program.log else None
    try:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output or sys.stderr.fileno(),
            stderr=output or sys.stderr.fileno(),
            env={**os.environ, **program.environment},
            start_new_session=True,
            pass_fds=program.inherit,
        )
    except OSError as error:
        raise StackError(f"{program.name} cannot be started: {error.strerror}.") from None
    finally:
        if output is not None:
            output.close()
    with suppress(BrokenPipeError):  # it died at once; its status will tell
        assert popen.stdin is not None
        popen.stdin.write(program.stdin)
        popen.stdin.close()
    return popen


def _describe(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"
