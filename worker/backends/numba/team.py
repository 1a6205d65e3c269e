"""A few threads that share out the parts of one calculation."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Lock

import torch


class Team:
    """Runs parts on `size` threads, one of them the caller's; the next free thread takes the next part."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = Lock()
        if size > 1:
            self._threads = ThreadPoolExecutor(size - 1, thread_name_prefix="kernel", initializer=_alone)

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
            take(0)
            for each in running:
                each.result()


def _alone() -> None:
    torch.set_num_threads(1)
