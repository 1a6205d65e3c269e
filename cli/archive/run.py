"""Hands the files of an archive to threads, a few at a time, and tells how each fared."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Literal

from cli.archive.board import Board, Count
from cli.archive.errors import Stopped
from cli.archive.outcome import Outcome, Totals
from cli.archive.task import Task, Tools
from cli.archive.walk import Found
from cli.signals import StopSignals

Ending = Literal["complete", "stopped", "interrupted"]

_LOOK_SECONDS = 0.2
_END_SECONDS = 5.0


@dataclass(frozen=True)
class _Done:
    """What a thread gives back: how a file fared, or why it is not known."""

    outcome: Outcome | None = None
    error: BaseException | None = None


class Run:
    """One run over an archive. It holds the files that are on their way, and no others."""

    def __init__(self, tools: Tools, board: Board, totals: Totals, tell: Callable[[Outcome], None]) -> None:
        """Handle files with *tools*; *tell* hears of each as it ends."""
        self._tools = tools
        self._board = board
        self._totals = totals
        self._tell = tell
        self._todo: SimpleQueue[Found | None] = SimpleQueue()
        self._done: SimpleQueue[_Done] = SimpleQueue()
        self._in_hand = 0

    def go(self, files: Iterable[Found], signals: StopSignals, abandon: Callable[[], None]) -> Ending:
        """Handle *files*. Ctrl-C lets what is in hand end; the second one calls *abandon*.

        Raises:
            CommandError: if the run cannot go on; the threads have been told to end.
        """
        # Daemons: a request that hangs must not keep us from ending.
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._tools.order.jobs)]
        for thread in threads:
            thread.start()
        try:
            return self._feed(files, signals, abandon)
        except BaseException:
            self._tools.stop.set()
            self._settle()
            raise
        finally:
            for _ in threads:
                self._todo.put(None)

    def _feed(self, files: Iterable[Found], signals: StopSignals, abandon: Callable[[], None]) -> Ending:
        waiting = iter(files)
        ending: Ending | None = None
        most = 2 * self._tools.order.jobs
        while ending is None or self._in_hand:
            if signals.count > 1:
                abandon()
            while ending is None and self._in_hand < most:
                if signals.count:
                    ending = "interrupted"
                elif self._totals.failed_now and self._tools.order.on_error == "stop":
                    ending = "stopped"
                elif (found := next(waiting, None)) is None:
                    ending = "complete"
                else:
                    self._begin(found)
            self._look()
            self._board.tick()
        return ending

    def _begin(self, found: Found) -> None:
        if found.wanted:
            self._in_hand += 1
            self._todo.put(found)
        elif found.skip:
            self._end(Outcome(found.path, "skipped", reason=found.skip, bytes=found.size))
        elif found.trouble:
            code, message = found.trouble
            self._end(Outcome(found.path, "failed", error={"code": str(code), "message": message}))

    def _look(self) -> None:
        """Wait a moment for a file to end."""
        if not self._in_hand:
            return
        try:
            done = self._done.get(timeout=_LOOK_SECONDS)
        except Empty:
            return
        self._in_hand -= 1
        if done.error is not None:
            raise done.error
        if done.outcome is not None:
            self._end(done.outcome)

    def _end(self, outcome: Outcome) -> None:
        self._totals.add(outcome)
        self._board.ended(outcome)
        self._tell(outcome)

    def _settle(self) -> None:
        """Hear of the files that end in time all the same: they are in the manifest, and belong into the report."""
        deadline = time.monotonic() + _END_SECONDS
        while self._in_hand and time.monotonic() < deadline:
            try:
                done = self._done.get(timeout=_LOOK_SECONDS)
            except Empty:
                continue
            self._in_hand -= 1
            if done.outcome is not None:
                self._end(done.outcome)

    def _work(self) -> None:
        while (found := self._todo.get()) is not None:
            try:
                self._tools.stop.check()
                self._done.put(_Done(Task(self._tools, found, self._board.watch).run()))
            except Stopped:
                self._done.put(_Done())
            except BaseException as error:
                self._done.put(_Done(error=error))


def count_up(files: Iterable[Found], count: Count, stop: Callable[[], None]) -> None:
    """Count what there is to do; *stop* may raise `Stopped`."""
    try:
        for found in files:
            stop()
            if found.wanted:
                count.files += 1
                count.bytes += found.size
        count.complete = True
    except Stopped:
        pass
