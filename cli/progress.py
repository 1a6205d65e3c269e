"""Shows how far jobs are: bars in a terminal, lines where there is none."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from cli.output import people, say

_LINE_SECONDS = 5.0


class Watcher(Protocol):
    """Hears how one file fares."""

    def sent(self, done: int, total: int) -> None:
        """Hear how many bytes were uploaded."""

    def told(self, job: dict[str, Any]) -> None:
        """Hear what the server says of the job."""

    def ended(self, text: str) -> None:
        """Hear how it ended."""


class Board(Protocol):
    """Makes a watcher for each file."""

    def watch(self, name: str) -> Watcher:
        """Begin to watch a file."""


@contextmanager
def open_board() -> Iterator[Board]:
    """Show progress on stderr as long as it is open."""
    if not people.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[stage]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=people) as progress:
        yield _Bars(progress)


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def watch(self, name: str) -> Watcher:
        task = self._progress.add_task(escape(name), total=100.0, stage="upload")
        return _Bar(self._progress, task, name)


class _Bar:
    """The upload fills the bar once, the job fills it again: nobody knows how their times compare."""

    def __init__(self, progress: Progress, task: TaskID, name: str) -> None:
        self._progress = progress
        self._task = task
        self._name = name

    def sent(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=100.0 * done / max(total, 1), stage="upload")

    def told(self, job: dict[str, Any]) -> None:
        self._progress.update(self._task, completed=percent(job), stage=stage(job))

    def ended(self, text: str) -> None:
        self._progress.remove_task(self._task)  # a line takes its place: a thousand files have no room for bars
        say(f"{self._name}: {text}")


class _Lines:
    def watch(self, name: str) -> Watcher:
        return _Line(name)


class _Line:
    """A line for each new stage, and now and then one in between."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stage = ""
        self._at = 0.0

    def sent(self, done: int, total: int) -> None:
        self._write("upload", 100.0 * done / max(total, 1))

    def told(self, job: dict[str, Any]) -> None:
        self._write(stage(job), percent(job))

    def ended(self, text: str) -> None:
        say(f"{self._name}: {text}")

    def _write(self, stage: str, percent: float) -> None:
        now = time.monotonic()
        if stage != self._stage or now - self._at > _LINE_SECONDS:
            self._stage, self._at = stage, now
            say(f"{self._name}: {stage} {percent:.0f}%")


def stage(job: dict[str, Any]) -> str:
    """What is being done for a job, in a word or two."""
    if job.get("status") != "processing":
        place = job.get("queue_position")
        return f"{job.get('status', '')}" + (f", place {place}" if place else "")
    return str((job.get("progress") or {}).get("stage", "processing"))


def percent(job: dict[str, Any]) -> float:
    """How far a job is."""
    return float((job.get("progress") or {}).get("percent", 0.0))
