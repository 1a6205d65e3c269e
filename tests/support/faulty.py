"""A process of the product with faults at named points, and with networks that cost nothing.

    python -m tests.support.faulty api
    python -m tests.support.faulty worker audio
    python -m tests.support.faulty worker restore,vocode

A file in the folder FAULT_POINTS arms a point: the first process that comes there takes the file away and does what
it says. `tests.support.cluster` starts the processes and arms the points.
"""

import errno
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Collection
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np

from shared.batches.records import BatchRecords
from shared.queues import Dispatcher
from shared.records import JobRecords
from shared.settings import Settings, load_settings

POINTS = Path(os.environ["FAULT_POINTS"])
CLOCK = float(os.environ.get("FAULT_CLOCK", "0"))
MEMORY = int(os.environ.get("FAULT_MEMORY", "0"))

ACTIONS: dict[str, Callable[[], None]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "disk": lambda: _raise(OSError(errno.ENOSPC, "No space left on device")),
    "bug": lambda: _raise(ZeroDivisionError()),
}


def _raise(error: Exception) -> None:
    raise error


def reached(point: str) -> None:
    """Do what the point was armed with, once."""
    path = POINTS / point
    try:
        action = path.read_text()
        path.unlink()
    except FileNotFoundError:
        return
    with (POINTS / "log").open("a") as log:
        log.write(f"{point} {action} {os.getpid()}\n")
    ACTIONS[action]()
    time.sleep(0.5)  # a signal to a process of many threads takes a moment to stop them all


def _around(place: Any, name: str, before: Callable[..., None], after: Callable[..., None] | None = None) -> None:
    method = getattr(place, name)

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        before(*args, **kwargs)
        answer = method(*args, **kwargs)
        if after:
            after(*args, **kwargs)
        return answer

    setattr(place, name, call)


def _break_steps() -> None:
    from worker import tasks

    find = tasks.step_of

    def step_of(kind: Any) -> Any:
        step = find(kind)

        def broken(task: Any) -> Any:
            reached(f"{kind}.begin")
            if (task.manifest().input.filename or "").startswith(f"poison-{kind}"):
                ACTIONS["kill"]()
            handed = step(task)
            reached(f"{kind}.recorded")
            return handed

        return broken

    tasks.step_of = step_of  # type: ignore[assignment]
    for name in ("complete_split", "complete", "succeed"):
        _around(JobRecords, name, lambda _, __, claim, *a, **k: reached(f"{claim.piece.kind}.written"))
    _around(JobRecords, "create", lambda *a, **k: reached("batch.manifest"), lambda *a, **k: reached("batch.record"))
    _around(BatchRecords, "end", lambda *a, **k: reached("batch.manifests"), lambda *a, **k: reached("batch.end"))


def _break_sending() -> None:
    """The file `send` says `twice`, or `tenth`: every message twice, or every tenth not at all."""
    send = Dispatcher.send
    count = 0

    def sends(self: Dispatcher, messages: Any) -> None:
        nonlocal count
        path = POINTS / "send"
        how = path.read_text() if path.exists() else ""
        for message in messages:
            count += 1
            if how == "tenth" and count % 10 == 0:
                continue
            send(self, [message, message] if how == "twice" else [message])

    Dispatcher.send = sends  # type: ignore[method-assign]


def _engine(settings: Settings, stages: Collection[str]) -> Any:
    from tests.support.standins import StandInRestorer, StandInVocoder
    from worker.engine import engine_of

    def paced(cls: type, name: str) -> Any:
        def call(self: Any, data: Any, more: Any) -> Any:
            time.sleep(_pace())
            with (POINTS / "executions").open("a") as executions:
                executions.write(name[0])
            if MEMORY:
                np.empty((data.shape[-2] if name == "vocode" else data.shape[-1] // 441) * 2**22, np.uint8)
            return getattr(cls, name)(self, data, more)

        return type(f"Paced{cls.__name__}", (cls,), {name: call})()

    engine = engine_of(restorer=paced(StandInRestorer, "restore"), vocoder=paced(StandInVocoder, "vocode"))
    if MEMORY:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    return engine


def _pace() -> float:
    """Seconds that a call of a network takes: what the file `pace` says."""
    path = POINTS / "pace"
    return float(path.read_text()) if path.exists() else 0.05


def _shift_clock() -> None:
    right = time.time
    time.time = lambda: right() + CLOCK  # type: ignore[assignment]


def main() -> None:
    """Run the process that the command line names."""
    room, *stages = sys.argv[1:]
    if CLOCK:
        _shift_clock()
    _break_sending()
    if room == "api":
        from api.server import serve
        from shared.storage.folder import FolderWriter

        _around(JobRecords, "create", lambda *a, **k: reached("api.manifest"), lambda *a, **k: reached("api.record"))
        _around(FolderWriter, "commit", lambda *a, **k: reached("api.upload"))
        settings = load_settings()
        serve(settings, settings.api_host, settings.api_port)
        return
    _break_steps()
    from worker.main import run_worker

    run_worker(load_settings(), tuple(stages[0].split(",")), load=_engine)


if __name__ == "__main__":
    main()
