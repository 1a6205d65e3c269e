"""Mels from hand to hand: a process that restores and vocodes keeps the latest it made, within a bound."""

import threading
from collections import OrderedDict
from collections.abc import Callable

from worker.arrays import Floats

#: A mel is kept only if so many of its size fit: a vocoder window reads several, and jobs take turns.
_FIT = 8


class Handover:
    """The mels that this process restored last, by the key under which they would lie in storage.

    The key names job, window and attempt, so what is found is what the record says counts. Threads share it.
    """

    def __init__(self, limit: int, *, suffices: Callable[[], bool] = lambda: False) -> None:
        """Keep at most *limit* bytes; *suffices* tells whether no other process will ask for these mels."""
        self._limit = limit
        self._suffices = suffices
        self._lock = threading.Lock()
        self._mels: OrderedDict[str, Floats] = OrderedDict()
        self._bytes = 0

    def keep(self, key: str, mel: Floats) -> bool:
        """Keep a mel, in place of the oldest if need be; True if that is enough and storage needs no copy."""
        if mel.nbytes * _FIT > self._limit:
            return False
        # Kept whole: the mel may be a view of a longer one.
        own = mel.copy() if mel.base is not None else mel
        with self._lock:
            self._drop(key)
            self._mels[key] = own
            self._bytes += own.nbytes
            while self._bytes > self._limit:
                self._drop(next(iter(self._mels)))
        return self._suffices()

    def get(self, key: str) -> Floats | None:
        """Give a mel `[C, t, 128]` that is still here; it must not be changed."""
        with self._lock:
            return self._mels.get(key)

    def _drop(self, key: str) -> None:
        mel = self._mels.pop(key, None)
        self._bytes -= mel.nbytes if mel is not None else 0
