"""A few threads that share out the parts of one calculation, and the memory that they work in."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import count
from threading import Lock

from worker.backends.numba.arena import Arena


class Team:
    """Runs parts on `size` threads, one of them the caller's; the next free thread takes the next part."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.arena = Arena()
        self._lock = Lock()
        if size > 1:
            self._threads = ThreadPoolExecutor(size - 1, "kernel")

    def share(self, parts: int, work: Callable[[int, int], None]) -> None:
        """Call `work(part, member)` for each part; a member works on one part at a time. Raises what `work` raises."""
        numbers = count()

        def take(member: int) -> None:
            while (part := next(numbers)) < parts:
                work(part, member)

        others = min(self.size, parts) - 1
        with self._lock:
            running = [self._threads.submit(take, member) for member in range(1, others + 1)]
            try:
                take(0)
            finally:  # nobody is to write any more when the caller goes on
                wait(running)
            for each in running:
                each.result()

    def share_rows(self, rows: int, work: Callable[[int, int], None]) -> None:
        """Call `work(first, last)` for ranges of rows that together are all of them."""
        parts = min(rows, _ROW_PARTS)
        self.share(parts, lambda part, _: work(rows * part // parts, rows * (part + 1) // parts))


def cut(total: int, most: int) -> tuple[int, int]:
    """How many parts, and of which size, `most` at the most; an even number of them where there is enough.

    It does not depend on the team: BLAS rounds otherwise for another number of rows, and the same work is to give the
    same bytes on any number of threads.
    """
    rounds = -(-total // (2 * most))
    size = max(1, -(-total // max(1, 2 * rounds)))
    return -(-total // size), size


_ROW_PARTS = 16
