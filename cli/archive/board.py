"""Shows how a run fares: a live table in a terminal, lines where there is none."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cli.archive.outcome import Outcome, Totals, shown
from cli.output import people, say
from cli.progress import Watcher, percent, stage

_MOST_ROWS = 12
_LINE_SECONDS = 10.0
_UNITS = ("B", "kB", "MB", "GB", "TB")


class Count:
    """How much there is to do; counted beside the work, and complete some time after it began."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.complete = False


class Board(Protocol):
    """Shows the files on their way, and the whole."""

    def watch(self, path: str) -> Watcher:
        """Begin to watch a file."""

    def ended(self, outcome: Outcome) -> None:
        """Hear how a file fared."""

    def tick(self) -> None:
        """Hear that time goes by."""


@contextmanager
def open_board(totals: Totals, count: Count) -> Iterator[Board]:
    """Show progress on stderr as long as it is open."""
    if not people.is_terminal:
        yield _Lines(totals, count)
        return
    board = _Table(totals, count)
    with Live(get_renderable=board.render, console=people, refresh_per_second=4, transient=True):
        yield board


class _Row:
    """A file on its way."""

    def __init__(self, board: "_Table", path: str) -> None:
        self._board = board
        self.path = path
        self.began = time.monotonic()
        self.stage, self.percent = "read", 0.0

    def sent(self, done: int, total: int) -> None:
        self.stage, self.percent = "upload", 100.0 * done / max(total, 1)

    def told(self, job: dict[str, Any]) -> None:
        self.stage, self.percent = stage(job), percent(job)

    def ended(self, _text: str) -> None:
        self._board.drop(self)


class _Table:
    def __init__(self, totals: Totals, count: Count) -> None:
        self._pace = Pace(totals, count)
        self._rows: dict[int, _Row] = {}
        self._lock = threading.Lock()

    def watch(self, path: str) -> Watcher:
        row = _Row(self, path)
        with self._lock:
            self._rows[id(row)] = row
        return row

    def drop(self, row: _Row) -> None:
        with self._lock:
            self._rows.pop(id(row), None)

    def ended(self, outcome: Outcome) -> None:
        if outcome.status == "failed":  # stays above the table
            say(_sentence(outcome))

    def tick(self) -> None:
        pass

    def render(self) -> RenderableType:
        with self._lock:
            rows = list(self._rows.values())
        table = Table.grid(padding=(0, 2))
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        now = time.monotonic()
        for row in rows[:_MOST_ROWS]:
            bar = ProgressBar(total=100.0, completed=row.percent, width=24)
            table.add_row(Text(shown(row.path)), Text(row.stage), bar, Text(_clock(now - row.began)))
        more = [Text(f"and {len(rows) - _MOST_ROWS} more")] if len(rows) > _MOST_ROWS else []
        share = self._pace.share()
        total = ProgressBar(total=1.0, completed=share or 0.0, pulse=share is None, width=40)
        return Group(table, *more, total, Text(self._pace.sentence()))


class _Lines:
    """A line for each file that is restored or fails, and now and then one for the whole."""

    def __init__(self, totals: Totals, count: Count) -> None:
        self._pace = Pace(totals, count)
        self._at = time.monotonic()

    def watch(self, _path: str) -> Watcher:
        return _Silent()

    def ended(self, outcome: Outcome) -> None:
        if outcome.status in ("restored", "failed"):
            say(_sentence(outcome))

    def tick(self) -> None:
        now = time.monotonic()
        if now - self._at >= _LINE_SECONDS:
            self._at = now
            say(self._pace.sentence())


class _Silent:
    def sent(self, done: int, total: int) -> None:
        pass

    def told(self, job: dict[str, Any]) -> None:
        pass

    def ended(self, text: str) -> None:
        pass


class Pace:
    """How far the whole is, how fast it goes, and when it will be done."""

    def __init__(self, totals: Totals, count: Count) -> None:
        self._totals = totals
        self._count = count
        self._began = time.monotonic()

    def share(self) -> float | None:
        """From 0 to 1, by bytes; None while they are being counted."""
        if not self._count.complete:
            return None
        return min(1.0, self._totals.bytes_over / self._count.bytes) if self._count.bytes else 1.0

    def sentence(self) -> str:
        """The whole in one line."""
        totals, count = self._totals, self._count
        of = "" if count.complete else "+"
        parts = [
            f"{totals.files} of {max(count.files, totals.files)}{of} files",
            f"{_size(totals.bytes_over)} of {_size(max(count.bytes, totals.bytes_over))}{of}",
        ]
        parts += [f"{totals.unchanged} unchanged"] if totals.unchanged else []
        parts += [f"{totals.failed} failed"] if totals.failed else []
        seconds = time.monotonic() - self._began
        # What earlier runs have done says nothing of the pace of this one.
        rate = (totals.bytes + totals.failed_bytes) / seconds if seconds > 0 else 0.0
        if rate > 0:
            parts.append(f"{_size(rate)}/s")
            if count.complete:
                parts.append(f"{_clock((count.bytes - totals.bytes_over) / rate)} left")
        return ", ".join(parts)


def _sentence(outcome: Outcome) -> str:
    name = shown(outcome.path)
    if outcome.error:
        return f"{name}: {outcome.error['message']}"
    review = " (listen to it: it may have gone wrong)" if outcome.needs_review else ""
    return f"{name} → {shown(outcome.output or '')}{review}"


def _size(number: float) -> str:
    for unit in _UNITS[:-1]:
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} {_UNITS[-1]}"


def _clock(seconds: float) -> str:
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
