"""Mels from hand to hand: a process that restores and vocodes keeps the latest it made, within a bound."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from worker.arrays import Floats

#: A mel is kept only if so many of its size fit: a vocoder window reads several, and jobs take turns.
_FIT = 8


@dataclass(frozen=True)
class _Kept:
    """A mel, and the vocoder windows of a job for which it is the only copy: none if it is a spare one."""

    mel: Floats
    job_id: str = ""
    awaited_by: set[int] = field(default_factory=set)


class Handover:
    """The mels that this process restored last, by the key under which they would lie in storage.

    The key names job, window and attempt, so what is found is what the record says counts. Threads share it.
    """

    def __init__(
        self,
        limit: int,
        *,
        suffices: Callable[[], bool] = lambda: False,
        over: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Keep at most *limit* bytes.

        *suffices* tells whether no other process will ask for these mels; *over*, whether a job needs none any more.
        """
        self._limit = limit
        self._suffices = suffices
        self._over = over
        self._lock = threading.Lock()
        self._mels: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0

    def hold(self, key: str, mel: Floats, *, job_id: str, readers: Collection[int]) -> bool:
        """Keep the only copy of a mel until these vocoder windows are done; False if it must be written instead.

        No only copy ever leaves to make room for another: it would have to be made again.
        """
        if not self._suffices() or not self._may_fit(mel):
            return False
        kept = _Kept(_own(mel), job_id, set(readers))
        return self._take_in(key, kept) or (self._free_ended() and self._take_in(key, kept))

    def keep(self, key: str, mel: Floats) -> None:
        """Keep a mel that is in storage too, in place of the oldest such ones if need be and if that is enough."""
        if self._may_fit(mel):
            self._take_in(key, _Kept(_own(mel)))

    def get(self, key: str) -> Floats | None:
        """Give a mel `[C, t, 128]` that is still here; it must not be changed."""
        with self._lock:
            kept = self._mels.get(key)
        return kept.mel if kept is not None else None

    def done(self, keys: Collection[str], reader: int) -> None:
        """Say that a vocoder window has been made of these mels: what no other waits for may leave."""
        with self._lock:
            for key in keys:
                if key in self._mels:
                    self._mels[key].awaited_by.discard(reader)

    def _may_fit(self, mel: Floats) -> bool:
        return mel.nbytes * _FIT <= self._limit

    def _take_in(self, key: str, kept: _Kept) -> bool:
        """Put a mel in place of the oldest that may leave; changes nothing, and gives False, if they are too few."""
        with self._lock:
            fixed = sum(one.mel.nbytes for name, one in self._mels.items() if one.awaited_by and name != key)
            if fixed + kept.mel.nbytes > self._limit:
                return False
            self._drop(key)
            for name in [name for name, one in self._mels.items() if not one.awaited_by]:
                if self._bytes + kept.mel.nbytes <= self._limit:
                    break
                self._drop(name)
            self._mels[key] = kept
            self._bytes += kept.mel.nbytes
        return True

    def _free_ended(self) -> bool:
        """Let go of what was held for jobs that ended before it was read; tells whether there was any."""
        with self._lock:
            jobs = {one.job_id for one in self._mels.values() if one.awaited_by}
        ended = {job_id for job_id in jobs if self._over(job_id)}
        with self._lock:
            for name in [name for name, one in self._mels.items() if one.job_id in ended]:
                self._drop(name)
        return bool(ended)

    def _drop(self, key: str) -> None:
        kept = self._mels.pop(key, None)
        self._bytes -= kept.mel.nbytes if kept is not None else 0


def _own(mel: Floats) -> Floats:
    """The mel whole: it may be a view of a longer one, which would be kept alive."""
    return mel.copy() if mel.base is not None else mel
