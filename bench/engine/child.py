"""The inside of a measured process: reads requests, one JSON line each, and answers each with one."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

STAGES = ("mel", "denoiser", "unet", "vocoder")

Answer = dict[str, Any]
Commands = Mapping[str, Callable[..., Answer]]


class Marks:
    """The time at each boundary of a pass, from its beginning to the end of its last stage."""

    def __init__(self) -> None:
        self._at: list[float] = []

    def begin(self) -> None:
        """Begin a pass."""
        self._at = [time.perf_counter()]

    def mark(self, *_: object) -> None:
        """End a stage; takes what a hook is given."""
        self._at.append(time.perf_counter())

    def answer(self) -> Answer:
        """Give the seconds of each stage and of all, and the peak memory of the process until now."""
        assert len(self._at) == len(STAGES) + 1, "a pass has one mark for each stage"
        spent = [after - before for before, after in zip(self._at, self._at[1:], strict=False)]
        seconds = dict(zip(STAGES, spent, strict=True)) | {"chain": self._at[-1] - self._at[0]}
        return {"seconds": seconds, "peak_bytes": peak_bytes()}


def peak_bytes() -> int:
    """The most memory that this process has had resident (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])


def serve(build: Callable[[], Commands], *, refusals: tuple[type[Exception], ...] = ()) -> None:
    """Build, say how long that took, then answer until the requests end. What *refusals* say is handed on as words."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print must not print among the answers

    def say(answer: Answer) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    began = time.perf_counter()
    try:
        commands = build()
    except refusals as error:
        say({"error": str(error)})
        return
    say({"build_seconds": time.perf_counter() - began})
    for line in sys.stdin:
        request = json.loads(line)
        say(commands[request.pop("do")](**request))
