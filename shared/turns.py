"""The order in which a worker looks at its queues: interactive jobs before bulk ones, but never for ever."""

from collections.abc import Iterable
from typing import Final

#: So many pieces of other queues in a row; then the last queue that has any goes before them once.
_ROW: Final = 8


class Turns:
    """A queue order of kombu's: by name, and one turn in nine the other way round by priority.

    Names begin with the priority's rank. Under a steady stream of interactive jobs bulk ones still get one turn in
    nine, so that none waits for ever.
    """

    def __init__(self, queues: Iterable[str] = ()) -> None:
        self._queues = list(queues)
        self._row = 0

    def update(self, queues: Iterable[str]) -> None:
        """Take other queues."""
        self._queues = list(queues)

    def consume(self, count: int) -> list[str]:
        """Give the queues in the order in which to look at them now."""
        queues = sorted(self._queues[:count])
        if self._row < _ROW:
            return queues
        return sorted(queues, key=lambda queue: (-_rank(queue), queue))

    def rotate(self, used: str) -> str:
        """Note from which queue a piece came."""
        first = min(map(_rank, self._queues), default=0)
        self._row = self._row + 1 if _rank(used) == first and self._row < _ROW else 0
        return used


def _rank(queue: str) -> int:
    return int(queue.partition("-")[0])
