"""How many deliveries each receiver gets at once: few, and one where the last had no answer."""

import threading
from collections import Counter, OrderedDict

#: So many that gave no answer are remembered; beyond, the oldest gets its full share again.
_MOST_SILENT = 1000


class Receivers:
    """Counts what is under way to each receiver of this process. Safe to use from several threads."""

    def __init__(self, *, most: int, room: int) -> None:
        """Allow *most* at once, and *room* of one receiver."""
        self._most = most
        self._room = room
        self._busy: Counter[str] = Counter()
        self._silent: OrderedDict[str, None] = OrderedDict()
        self._changed = threading.Condition()

    def free(self) -> int:
        """How many more can be sent now."""
        with self._changed:
            return self._most - self._busy.total()

    def rooms(self) -> dict[str, int]:
        """How many more of each receiver, where it is not the usual number."""
        with self._changed:
            rooms = {receiver: self._room - count for receiver, count in self._busy.items()}
            return rooms | {receiver: max(0, 1 - self._busy[receiver]) for receiver in self._silent}

    def begin(self, receiver: str) -> None:
        """Note that one is sent."""
        with self._changed:
            self._busy[receiver] += 1

    def end(self, receiver: str, *, answered: bool | None) -> None:
        """Note that it was: whether there was an answer, whichever; None if it was not tried."""
        with self._changed:
            self._busy[receiver] -= 1
            if not self._busy[receiver]:
                del self._busy[receiver]
            if answered is not None:
                self._silent.pop(receiver, None)
            if answered is False:
                self._silent[receiver] = None
                if len(self._silent) > _MOST_SILENT:
                    self._silent.popitem(last=False)
            self._changed.notify_all()

    def wait_idle(self, seconds: float) -> bool:
        """Wait until nothing is under way; False if something still is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, seconds)
