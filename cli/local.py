"""A one-machine stack of a command's own: started for it on a free port, stopped after it."""

import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from cli.errors import StackError
from cli.folder import told
from cli.models import Models
from cli.output import people
from cli.processes import Process, Program, own_command, tail

_START_SECONDS = 330.0
_STOP_SECONDS = 120.0
_POLL_SECONDS = 0.05


@contextmanager
def own_stack(data: Path, models: Models) -> Iterator[str]:
    """Run `voicefixer-queue up` on a data folder and give its URL.

    It dies with us even if we are killed; SIGTERM ends us as Ctrl-C does, so that it is stopped in order.

    Raises:
        StackError: with the sentence by which `up` explains itself.
    """
    data.mkdir(parents=True, exist_ok=True)
    command = own_command(
        "up", "--json", "--port", "0", "--host", "127.0.0.1", "--data", str(data), *models.arguments()
    )
    before = signal.signal(signal.SIGTERM, _exit)
    process = Process(Program("the stack", command, log=data / "up.log"))
    try:
        with people.status("Starting a stack on this machine…"):
            url = _wait(process, data)
        yield url
    finally:
        _stop(process)
        signal.signal(signal.SIGTERM, before)


@contextmanager
def passing_stack(models: Models) -> Iterator[str]:
    """Run a stack whose data are thrown away."""
    with tempfile.TemporaryDirectory(prefix="voicefixer-queue-") as folder, own_stack(Path(folder), models) as url:
        yield url


def _wait(process: Process, data: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while process.status() is None:
        facts = told(data)
        if "url" in facts and facts.get("pid") == process.pid:  # otherwise it is what a stack left that was killed
            return str(facts["url"])
        if time.monotonic() > deadline:
            raise StackError(f"The stack was not ready after {_START_SECONDS:.0f} s.")
        time.sleep(_POLL_SECONDS)
    raise StackError(_reason(data / "up.log") or process.ending())


def _reason(log: Path) -> str | None:
    """The error that `up --json` wrote, if it did."""
    for line in reversed(tail(log)):
        try:
            return str(json.loads(line)["error"]["message"])
        except (ValueError, KeyError, TypeError):
            continue
    return None


def _stop(process: Process) -> None:
    process.terminate()
    try:
        if not process.wait(_STOP_SECONDS):
            process.terminate()  # the second time: at once
            process.wait(10.0)
    except BaseException:
        process.terminate()
        process.wait(10.0)
        raise
    finally:
        process.kill()


def _exit(_number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)
