"""The processes under test: started by forking, killed, and started again as soon as they are dead."""

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from types import TracebackType
from typing import Self

from bench.chaos import roles
from bench.chaos.roles import Role

_TEND_SECONDS = 0.05
#: A process that ended by itself, as one does that finds no Redis when it starts, is started again after so long.
_PAUSE_SECONDS = 0.5
_STOP_SECONDS = 90.0
_YOUNG_SECONDS = 1.0


class Crew:
    """
    Processes by name, kept running by a thread.

    Attributes:
        killed: how often each was killed
        died: how often each ended by itself

    """

    def __init__(self, roles_by_name: Mapping[str, Role]) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([roles.__name__])
        self._roles = dict(roles_by_name)
        self._running: dict[str, ForkServerProcess] = {}
        self._started: dict[str, float] = {}
        self._again_at: dict[str, float] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tend, name="crew", daemon=True)
        self.killed: Counter[str] = Counter()
        self.died: Counter[str] = Counter()

    def __enter__(self) -> Self:
        for name in self._roles:
            self._start(name)
        self._thread.start()
        return self

    def __exit__(self, _kind: type | None, error: BaseException | None, _trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        for process in self._running.values():
            if error is None and process.pid and process.is_alive():
                os.kill(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + (_STOP_SECONDS if error is None else 0.0)
        for process in self._running.values():
            process.join(max(0.0, deadline - time.monotonic()))
            _kill_group(process)

    def replace(self, roles_by_name: Mapping[str, Role]) -> None:
        """Play other roles: end each process gently, whereupon it is started again."""
        with self._lock:
            self._roles.update(roles_by_name)
            old = list(self._running.values())
            for process in old:
                process.terminate()
        for process in old:
            process.join(_STOP_SECONDS)
        self.died.clear()

    def kill(self, name: str, before: Callable[[int], None] = lambda _: None) -> bool:
        """Kill a process and what it started; *before* gets its pid while it is held still.

        False if it is dead, or too young to have begun anything.
        """
        with self._lock:
            process = self._running[name]
            if not process.is_alive() or time.monotonic() - self._started[name] < _YOUNG_SECONDS:
                return False
            assert process.pid is not None
            try:
                os.killpg(process.pid, signal.SIGSTOP)
            except ProcessLookupError:  # it has ended by itself this very moment
                return False
            try:
                before(process.pid)
            finally:
                _kill_group(process)
            self.killed[name] += 1
            self._again_at[name] = 0.0
            return True

    def workers(self) -> dict[str, tuple[str, ...]]:
        """Give the names of those that serve stages, and which."""
        return {name: role.stages for name, role in self._roles.items() if role.stages}

    def _start(self, name: str) -> None:
        # A daemon: it does not outlive us.
        process = self._context.Process(target=roles.run, args=[self._roles[name]], name=name, daemon=True)
        process.start()
        self._running[name] = process
        self._started[name] = time.monotonic()

    def _tend(self) -> None:
        while not self._stop.wait(_TEND_SECONDS):
            with self._lock:
                for name, process in list(self._running.items()):
                    if process.is_alive():
                        continue
                    if name not in self._again_at:
                        self.died[name] += 1
                        _kill_group(process)  # gunicorn's own child may be left
                        self._again_at[name] = time.monotonic() + _PAUSE_SECONDS
                    if time.monotonic() >= self._again_at[name]:
                        del self._again_at[name]
                        self._start(name)


def _kill_group(process: ForkServerProcess) -> None:
    if process.pid is not None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.join()
