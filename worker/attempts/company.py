"""Who may be at work in a process at once: all together, or one that is better left alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Company:
    """Lets pieces run side by side, and a suspect by itself.

    A piece whose last attempt came to nothing may be what ended its worker. Were it to run beside others, these would
    die with it, be suspects too, and in the end fail with it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._together = 0
        self._alone = False
        self._waiting = 0

    @contextmanager
    def join(self, *, alone: bool) -> Iterator[None]:
        """Work inside: by oneself, or with others that need not be."""
        with self._changed:
            self._enter(alone)
        try:
            yield
        finally:
            with self._changed:
                if alone:
                    self._alone = False
                else:
                    self._together -= 1
                self._changed.notify_all()

    def _enter(self, alone: bool) -> None:
        if alone:
            self._waiting += 1  # from now on nobody else begins
            self._changed.wait_for(lambda: not self._alone and not self._together)
            self._waiting -= 1
            self._alone = True
        else:
            self._changed.wait_for(lambda: not self._alone and not self._waiting)
            self._together += 1
