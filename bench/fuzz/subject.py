"""What is fuzzed, in a process of its own, and what one input did to it."""

import json
import select
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from bench.fuzz.child import RECORDING

CHILD = (sys.executable, "-X", "faulthandler", "-m", "bench.fuzz.child")
MOST_SECONDS = 20.0
"""An input that takes longer hangs: all are small, and of what they decode to a minute is taken."""
MOST_MIB = 448
"""Memory that one input may need for the moment, above what the process has."""


@dataclass(frozen=True)
class Outcome:
    """What one input did: `code` is empty where it was decoded, `samples` negative where something else was raised."""

    code: str
    samples: int = 0
    seconds: float = 0.0
    grown_kib: int = 0
    rss_kib: int = 0
    files: int = 0

    @property
    def fault(self) -> str:
        """What is wrong with that, or nothing."""
        if self.samples < 0:
            return self.code
        if self.code and not self.code.startswith(("audio_", "mel_")):
            return f"an undocumented code, {self.code}"
        if self.grown_kib > MOST_MIB * 1024:
            return f"{self.grown_kib // 1024} MiB of memory"
        return ""


class Subject:
    """The child process; one that has died is replaced."""

    def __init__(self, command: Sequence[str] = CHILD, *, patience: float = MOST_SECONDS) -> None:
        self._command = command
        self._patience = patience
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        self._process: subprocess.Popen[bytes] | None = None
        self.started = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._errors.close()

    def give(self, data: bytes, kind: bytes = RECORDING) -> Outcome:
        """Let it decode one input."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(struct.pack("<cI", kind, len(data)) + data)
            process.stdin.flush()
        except BrokenPipeError:
            return self._died(process)
        if not select.select([process.stdout], [], [], self._patience)[0]:
            self._end()
            return Outcome(f"no answer within {self._patience:g} seconds", samples=-1, seconds=self._patience)
        line = process.stdout.readline()
        return Outcome(**json.loads(line)) if line else self._died(process)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=self._errors)
            self.started += 1
        return self._process

    def _died(self, process: subprocess.Popen[bytes]) -> Outcome:
        status = process.wait()
        self._end()
        self._errors.seek(0)
        told = self._errors.read().decode(errors="replace").strip().splitlines()[-12:]
        self._errors.truncate(0)
        return Outcome(f"the process ended with {status}: {' | '.join(told)}", samples=-1)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
