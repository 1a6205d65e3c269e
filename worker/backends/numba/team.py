"""A few threads that share out the parts of one calculation, and the memory that they work in."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import count
from threading import Barrier, Lock

import torch

from worker.backends.numba.arena import Arena


class Team:
    """Runs parts on `size` threads, one of them the caller's; the next free thread takes the next part."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.arena = Arena()
        self._lock = Lock()
        if size > 1:
            # All of them now: each sets the number of threads for PyTorch's operators within it, and some libraries
            # below PyTorch have one such number for the whole process, which the last word below is for.
            met = Barrier(size - 1)
            self._threads = ThreadPoolExecutor(size - 1, "kernel", initializer=lambda: torch.set_num_threads(1))
            for each in [self._threads.submit(met.wait) for _ in range(size - 1)]:
                each.result()
        torch.set_num_threads(size)

    def share(self, parts: int, work: Callable[[int, int], None]) -> None:
        """Call `work(part, member)` for each part; a member works on one part at a time. Raises what `work` raises."""
        numbers = count()

        def take(member: int) -> None:
            with torch.inference_mode():
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

    def parts(self, total: int, most: int) -> tuple[int, int]:
        """How many parts, and of which size, `most` at the most, so that all members have as many of them."""
        rounds = -(-total // (most * self.size))
        size = -(-total // max(1, rounds * self.size))
        return -(-total // max(1, size)), size

    def share_rows(self, rows: int, work: Callable[[int, int], None]) -> None:
        """Call `work(first, last)` for ranges of rows that together are all of them."""
        parts = min(rows, 4 * self.size)
        self.share(parts, lambda part, _: work(rows * part // parts, rows * (part + 1) // parts))
