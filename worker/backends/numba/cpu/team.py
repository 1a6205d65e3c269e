"""A few threads that share out the parts of one calculation, and the memory that they work in."""

from collections.abc import Callable
from functools import partial
from itertools import count
from queue import SimpleQueue
from threading import Lock, Thread

from worker.backends.numba.cpu.arena import Arena, Shelf

Work = Callable[[int, int], None]


class Team:
    """Runs parts on `size` threads, one of them the caller's; the next free thread takes the next part.

    Two simple queues hand work over some ten times as quickly as a pool of the standard library; a short recording has
    hundreds of layers of a millisecond each.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.arena, self.shelf = Arena(), Shelf()
        self._prepared: list[Callable[[], None]] = []
        self._lock = Lock()
        self._calls: SimpleQueue[Callable[[], BaseException | None]] = SimpleQueue()
        self._ends: SimpleQueue[BaseException | None] = SimpleQueue()
        for number in range(1, size):
            Thread(target=_serve, args=(self._calls, self._ends), name=f"kernel-{number}", daemon=True).start()

    def share(self, parts: int, work: Work) -> None:
        """Call `work(part, member)` for each part; a member works on one part at a time. Raises what `work` raises."""
        numbers = count()

        def take(member: int) -> BaseException | None:
            try:
                while (part := next(numbers)) < parts:
                    work(part, member)
            except BaseException as error:  # it is raised where the work was given out
                return error
            return None

        with self._lock:
            others = max(0, min(self.size, parts) - 1)
            for member in range(1, others + 1):
                self._calls.put(lambda member=member: take(member))  # type: ignore[misc]
            # All of them, also after an error: nobody is to write any more when the caller goes on.
            errors = [take(0), *(self._ends.get() for _ in range(others))]
        for error in errors:
            if error is not None:
                raise error

    def prepare(self, parts: int, work: Callable[[int], None]) -> None:
        """Have `work(part)` called for each part when `finish` is called, with all that is to be prepared."""
        self._prepared += [partial(work, part) for part in range(parts)]

    def finish(self) -> None:
        """Do what is to be prepared, at once: nobody waits for others after each piece, who may be few and slow."""
        prepared, self._prepared = self._prepared, []
        self.share(len(prepared), lambda number, _: prepared[number]())

    def share_rows(self, rows: int, work: Callable[[int, int], None]) -> None:
        """Call `work(first, last)` for ranges of rows that together are all of them."""
        parts = min(rows, _ROW_PARTS)
        self.share(parts, lambda part, _: work(rows * part // parts, rows * (part + 1) // parts))


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


def _serve(calls: "SimpleQueue[Callable[[], BaseException | None]]", ends: "SimpleQueue[BaseException | None]") -> None:
    while True:
        ends.put(calls.get()())


_ROW_PARTS = 16
_ENOUGH = 8
"""Parts for each member, from which on it matters little how many they are."""
