"""How many requests may wait or stream at once: each has a thread of the server, and the others need some too."""

import threading


class Place:
    """The right to keep a thread for a while; to be freed, once or more often."""

    def __init__(self, places: "Places") -> None:
        self._places = places
        self._held = True

    def free(self) -> None:
        """Give it back."""
        held, self._held = self._held, False
        if held:
            self._places.give_back()

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_: object) -> None:
        self.free()


class Places:
    """So many, and no more. Safe to use from several threads."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = threading.Lock()

    def take(self) -> Place | None:
        """Take one; None if all are taken."""
        with self._lock:
            if self._left <= 0:
                return None
            self._left -= 1
        return Place(self)

    def give_back(self) -> None:
        """Count one as free; a `Place` does it."""
        with self._lock:
            self._left += 1
