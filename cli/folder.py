"""The data folder of a one-machine stack: where it is, what lies in it, and who works on it."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli.errors import StackError, StackRunning

_PATIENCE_SECONDS = 2.0


def default_folder() -> Path:
    """`voicefixer-queue` in the user's data folder, as the XDG base directories have it."""
    home = os.environ.get("XDG_DATA_HOME", "")
    base = Path(home) if home.startswith("/") else Path.home() / ".local" / "share"
    return base / "voicefixer-queue"


class DataFolder:
    """A data folder that this process works on, alone; from `claim`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        #: Descriptor of the lock. A child that keeps it open keeps the folder claimed after our own end.
        self.lock = lock

    @property
    def redis(self) -> Path:
        """The append-only file."""
        return self._made("redis")

    @property
    def objects(self) -> Path:
        """Recordings and results."""
        return self._made("objects")

    def log(self, name: str) -> Path:
        """Log of a child, empty; that of the run before is kept beside it."""
        path = self._made("logs") / f"{name}.log"
        if path.exists():
            path.replace(path.with_suffix(".log.1"))
        path.touch(mode=0o600)
        return path

    def tell(self, **facts: Any) -> None:
        """Write down, for whoever asks, who works here."""
        os.truncate(self.lock, 0)
        os.pwrite(self.lock, json.dumps(facts).encode(), 0)

    def _made(self, name: str) -> Path:
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path


@contextmanager
def claim(path: Path) -> Iterator[DataFolder]:
    """Work on a data folder, made if need be.

    Raises:
        StackRunning: if another process does.
        StackError: if the folder cannot be used.
    """
    path = path.absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StackError(f"{path} cannot be used as a data folder: {error.strerror}.") from None
    try:
        _take(path, lock)
        folder = DataFolder(path, lock)
        folder.tell(pid=os.getpid())
        yield folder
        os.truncate(lock, 0)
    finally:
        os.close(lock)


def told(path: Path) -> dict[str, Any]:
    """Read what the stack on a data folder told; empty if nothing."""
    try:
        facts = json.loads((path / "lock").read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _take(path: Path, lock: int) -> None:
    # A while, because a stack that was killed holds the lock until its last child is gone.
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
    facts = told(path)
    where = f" at {facts['url']}" if "url" in facts else ""
    who = f" (process {facts['pid']})" if "pid" in facts else ""
    raise StackRunning(f"A stack is running on {path} already{where}{who}. Stop it, or choose another folder: --data.")
