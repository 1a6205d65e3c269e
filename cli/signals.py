"""Counts the requests to stop, for loops that look now and then."""

import signal
from types import FrameType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """While it is entered, Ctrl-C, SIGTERM and a closed terminal only count; the first asks, a second insists."""

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup means it
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        # Nothing but this: a handler runs between any two steps of the main thread, which may hold any lock.
        self.count += 1
