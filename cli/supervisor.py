"""Keeps child processes running: one that dies is started again, a few times; then the whole gives up."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cli.errors import StackError
from cli.processes import Process, Program

#: So many deaths within the window end the stack.
_DEATHS = 5
_WINDOW_SECONDS = 120.0
_LONGEST_PAUSE = 8.0
_POLL_SECONDS = 0.1
#: A worker drains within its own limit; that and a little more is waited for.
DRAIN_MARGIN_SECONDS = 15.0


@dataclass
class _Child:
    process: Process
    deaths: list[float] = field(default_factory=list)
    again_at: float | None = None


class Supervisor:
    """
    Child processes in the order in which they were started.

    Attributes:
        say: takes a sentence for people

    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._children: dict[str, _Child] = {}

    def start(self, program: Program) -> None:
        """Start a program."""
        self._children[program.name] = _Child(Process(program))

    def pids(self) -> dict[str, int]:
        """Tell the process id of each child."""
        return {name: child.process.pid for name, child in self._children.items()}

    def check(self) -> None:
        """See that all run.

        Raises:
            StackError: says which does not, and the end of its log.
        """
        for child in self._children.values():
            if child.process.status() is not None:
                raise StackError(child.process.ending())

    def tend(self) -> None:
        """Start again, after a pause that grows, what has died.

        Raises:
            StackError: for a child that dies again and again.
        """
        now = time.monotonic()
        for child in self._children.values():
            if child.again_at is not None:
                self._restart(child, now)
            elif child.process.status() is not None:
                self._mourn(child, now)

    def drain(self, names: Sequence[str], seconds: float, insist: Callable[[], bool]) -> None:
        """Ask children to end, and wait; kill those that still run after *seconds*, or once *insist* says so."""
        processes = [self._children.pop(name).process for name in names if name in self._children]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + seconds
        while any(process.status() is None for process in processes):
            if insist() or time.monotonic() > deadline:
                break
            time.sleep(_POLL_SECONDS)
        for process in processes:
            if process.status() is None:
                self.say(f"{process.program.name} is stopped in the middle of its work.")
            process.kill()  # also what a process that ended by itself may have left behind

    def kill(self) -> None:
        """End all children at once."""
        for child in self._children.values():
            child.process.kill()
        self._children.clear()

    def _mourn(self, child: _Child, now: float) -> None:
        child.deaths = [*(death for death in child.deaths if now - death < _WINDOW_SECONDS), now]
        child.process.kill()
        if len(child.deaths) >= _DEATHS:
            raise StackError(f"{child.process.ending()}\nIt died {_DEATHS} times, so the stack stops.")
        pause = min(0.5 * 2 ** (len(child.deaths) - 1), _LONGEST_PAUSE)
        child.again_at = now + pause
        self.say(f"{child.process.ending()}\nIt is started again in {pause:g} s.")

    def _restart(self, child: _Child, now: float) -> None:
        if child.again_at is not None and now >= child.again_at:
            child.process = Process(child.process.program)
            child.again_at = None
