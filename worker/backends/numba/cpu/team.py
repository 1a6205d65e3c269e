"""A few threads that share out the parts of one calculation, and the memory that they work in."""

from collections.abc import Callable
from functools import partial
from itertools import count
from queue import SimpleQueue
from threading import Thread, local
from weakref import finalize

import torch

from worker.backends.numba.cpu.arena import Arena, Shelf

Work = Callable[[int, int], None]
Call = Callable[[], None]


class Team:
    """Runs parts on a few threads, one of them the caller's; the next free one takes the next part.

    Every thread that calls has helpers and memory of its own, so several may calculate at once. Work does not share out
    work again, and a process that is forked has no helpers.
    """

    def __init__(self, size: int | None = None) -> None:
        """Calculate on so many threads; by default on as many as PyTorch takes where it is called."""
        self.shelf = Shelf()
        self._size = size
        self._own = local()
        self._prepared: list[Callable[[], None]] = []

    @property
    def size(self) -> int:
        """How many threads calculate for the one that asks."""
        return self._crew.size

    @property
    def arena(self) -> Arena:
        """The memory of the thread that asks."""
        return self._crew.arena

    def share(self, parts: int, work: Work) -> None:
        """Call `work(part, member)` for each part; a member works on one part at a time. Raises what `work` raises."""
        self._crew.share(parts, work)

    def share_rows(self, rows: int, work: Callable[[int, int], None]) -> None:
        """Call `work(first, last)` for ranges of rows that together are all of them."""
        parts = min(rows, _ROW_PARTS)
        self.share(parts, lambda part, _: work(rows * part // parts, rows * (part + 1) // parts))

    def prepare(self, parts: int, work: Callable[[int], None]) -> None:
        """Have `work(part)` called for each part when `finish` is called, with all that is to be prepared."""
        self._prepared += [partial(work, part) for part in range(parts)]

    def finish(self) -> None:
        """Do what is to be prepared, at once: nobody waits for others after each piece, who may be few and slow."""
        prepared, self._prepared = self._prepared, []
        self.share(len(prepared), lambda number, _: prepared[number]())

    @property
    def _crew(self) -> "_Crew":
        if not hasattr(self._own, "crew"):
            self._own.crew = _Crew(self._size or torch.get_num_threads())
        crew: _Crew = self._own.crew
        return crew


class _Crew:
    """A thread's helpers and memory.

    Two simple queues hand work over some ten times as quickly as a pool of the standard library; a short recording has
    hundreds of layers of a millisecond each.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.arena = Arena()
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        for number in range(1, size):
            Thread(target=_serve, args=(self._calls,), name=f"kernel-{number}", daemon=True).start()
        # The thread that they help may end before the process does.
        finalize(self, _dismiss, self._calls, size - 1)

    def share(self, parts: int, work: Work) -> None:
        """See `Team.share`."""
        numbers = count()
        ends: SimpleQueue[BaseException | None] = SimpleQueue()  # this call's own, whatever became of the last one

        def take(member: int) -> None:
            end: BaseException | None = None
            try:
                while (part := next(numbers)) < parts:
                    work(part, member)
            except BaseException as error:  # it is raised where the work was given out
                end = error
            ends.put(end)

        others = max(0, min(self.size, parts) - 1)
        for member in range(1, others + 1):
            self._calls.put(partial(take, member))
        take(0)
        # All of them, also after an error: nobody is to write any more when the caller goes on.
        for error in _wait(ends, others + 1):
            raise error


def cut(total: int, most: int, *, unit: int = 1, members: int = 1) -> tuple[int, int]:
    """How many nearly equal parts, and of which size: a multiple of `unit`, of about `most` at the most.

    The parts are as many for each member of a team.
    """
    rounds = -(-total // (members * most))
    size = -(-max(1, -(-total // max(1, rounds * members))) // unit) * unit
    return -(-total // size), size


def groups_of(panels: int, parts: int, members: int) -> list[tuple[int, int]]:
    """First and last panel of the groups that parts are cut into as well, where parts alone are few."""
    count = 1
    while count < panels and parts * count < _ENOUGH * members and parts * count % members:
        count += 1
    return [(panels * group // count, panels * (group + 1) // count) for group in range(count)]


def share_panels(
    team: Team, total: int, size: int, panels: int, work: Callable[[int, int, tuple[int, int], int], None]
) -> None:
    """Call `work(first, last, some, member)` for parts of `size`, each for all panels or, if few, for some.

    `some` are the first and last of those panels.
    """
    parts = -(-total // size)
    groups = groups_of(panels, parts, team.size)

    def run(number: int, member: int) -> None:
        part, group = divmod(number, len(groups))
        work(part * size, min((part + 1) * size, total), groups[group], member)

    team.share(parts * len(groups), run)


def _serve(calls: "SimpleQueue[Call | None]") -> None:
    while (call := calls.get()) is not None:
        call()


def _wait(ends: "SimpleQueue[BaseException | None]", count: int) -> list[BaseException]:
    """Wait for so many ends, whatever interrupts it; gives what went wrong."""
    errors: list[BaseException] = []
    while count:
        try:
            error = ends.get()
        except BaseException as interrupt:  # Ctrl-C, while others still calculate
            errors.append(interrupt)
            continue
        count -= 1
        if error is not None:
            errors.append(error)
    return errors


def _dismiss(calls: "SimpleQueue[Call | None]", members: int) -> None:
    for _ in range(members):
        calls.put(None)


_ROW_PARTS = 16
_ENOUGH = 8
"""Parts for each member, from which on it matters little how many they are."""
