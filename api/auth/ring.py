"""The keys as requests ask for them: read from storage, kept for a moment, and still there while storage is away."""

import threading
import time
from collections import OrderedDict

from api.errors import RateExceeded
from shared import log
from shared.access import ApiKey, KeyShelf
from shared.errors import StorageError

#: A key that was revoked opens doors for so long at most.
FRESH_SECONDS = 5.0
_MOST_KEPT = 10_000
_MOST_NEW_A_SECOND = 20

_log = log.logger("api")


class KeyRing:
    """Looks keys up. Safe to use from several threads.

    Raises:
        StorageError: from any method, if storage cannot be used and nothing is known from before.
        RateExceeded: from `find`, if too many unknown keys are asked for.
    """

    def __init__(self, shelf: KeyShelf) -> None:
        self._shelf = shelf
        self._known: OrderedDict[str, tuple[float, ApiKey | None]] = OrderedDict()
        self._any: tuple[float, bool] = (0.0, False)
        self._second, self._asked = 0.0, 0
        self._lock = threading.Lock()

    def find(self, key_id: str) -> ApiKey | None:
        """Give a key, as it was a few seconds ago at most; None if there is none of that id."""
        now = time.monotonic()
        with self._lock:
            known = self._known.get(key_id)
            if known and now < known[0]:
                return known[1]
            if known:  # the others take what is known while this one asks
                self._keep(key_id, now, known[1])
        if known is None:
            self._may_ask(now)
        try:
            found = self._shelf.get(key_id)
        except StorageError as error:
            if known is None or known[1] is None:
                raise
            _log.warning("a key is taken as it was", key=key_id, reason=error.message)
            return known[1]
        with self._lock:
            self._keep(key_id, now, found)
        return found

    def any(self) -> bool:
        """Whether there is a key at all, revoked or not; once there is, it stays so."""
        until, found = self._any
        if found or time.monotonic() < until:
            return found
        try:
            found = self._shelf.any()
        except StorageError:
            if not until:  # nothing is known: better nobody than everybody
                raise
        self._any = (time.monotonic() + FRESH_SECONDS, found)
        return found

    def _may_ask(self, now: float) -> None:
        """Whoever makes keys up must not keep storage busy."""
        with self._lock:
            if now >= self._second + 1:
                self._second, self._asked = now, 0
            self._asked += 1
            if self._asked > _MOST_NEW_A_SECOND:
                raise RateExceeded(
                    "Too many keys that are new to this server; send yours again in a second.",
                    headers={"Retry-After": "1"},
                )

    def _keep(self, key_id: str, now: float, key: ApiKey | None) -> None:
        self._known[key_id] = (now + FRESH_SECONDS, key)
        self._known.move_to_end(key_id)
        while len(self._known) > _MOST_KEPT:
            self._known.popitem(last=False)
