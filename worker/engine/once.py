"""What is made when it is asked for first."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Once(Generic[Made]):
    """Makes something in the thread that asks first; others who ask meanwhile wait for it.

    If that fails, all who waited get the error, and whoever asks next tries again.
    """

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._future: Future[Made] | None = None

    def get(self) -> Made:
        """Give what was made, or make it; raises what `make` raises."""
        with self._lock:
            future, mine = self._future, self._future is None
            if future is None:
                self._future = future = Future()
        if mine:
            self._fill(future)
        return future.result()

    def _fill(self, future: "Future[Made]") -> None:
        try:
            future.set_result(self._make())
        except BaseException as error:
            with self._lock:
                self._future = None
            future.set_exception(error)
