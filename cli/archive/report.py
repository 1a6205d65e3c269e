"""A line of JSON per file, for `--report`."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from cli.archive.errors import ArchiveError
from cli.archive.order import Order
from cli.archive.outcome import Outcome
from cli.archive.walk import is_inside
from cli.errors import UsageProblem


def check_report(order: Order) -> None:
    """See that a report does not take the place of anything that is to stay.

    Raises:
        UsageProblem: if it would lie among the recordings, or replaces what is no report.
    """
    if order.report is None:
        return
    real, source, target = (os.path.realpath(path) for path in (order.report, order.source, order.target))
    if is_inside(real, source) and not (is_inside(target, source) and is_inside(real, target)):
        raise UsageProblem("--report: the report would lie among the recordings, which are not touched.")
    if order.report.is_dir() or (order.report.suffix not in (".jsonl", ".json") and order.report.exists()):
        raise UsageProblem(f"--report: {order.report} is there already, and does not end in .jsonl or .json.")


class Report:
    """The report of a run, written as files end; without a path nothing is written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None
        if path is not None:
            with self._explained():
                self._file = path.open("w", encoding="ascii")

    def write(self, outcome: Outcome) -> None:
        """Add a file."""
        if self._file is not None:
            with self._explained():
                self._file.write(line(outcome.document()) + "\n")
                self._file.flush()

    def close(self) -> None:
        """See that it is on the disk."""
        if self._file is not None:
            with suppress(OSError):
                os.fsync(self._file.fileno())
            self._file.close()

    def _explained(self) -> "_Explained":
        return _Explained(self._path)


class _Explained:
    def __init__(self, path: Path | None) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            raise ArchiveError(f"The report {self._path} cannot be written: {error.strerror}.") from None


def line(document: object) -> str:
    """Write JSON in ASCII: names may hold bytes that are no text, which stand in it as lone surrogates."""
    return json.dumps(document, ensure_ascii=True, separators=(",", ":"))
