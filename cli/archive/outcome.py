"""How a file fared, as a line for people and scripts."""

from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["restored", "unchanged", "failed", "skipped"]


@dataclass(frozen=True)
class Outcome:
    """
    How a file fared.

    Attributes:
        path: relative to the archive
        status: "unchanged" if it was restored by an earlier run
        output: relative to the target
        error: code and message, if it failed
        reason: why it was skipped, if it was
        sha256_in, sha256_out: of recording and result, where they are known
        bytes: of the recording
        seconds: that this run spent on it
        attempt: counts the jobs that were made for it as it is
        job_id: of the job that counts
        models: as the job names them
        needs_review: whether someone should listen to the result; None if the server does not say
        earlier: an earlier run found this out

    """

    path: str
    status: Status
    output: str | None = None
    error: dict[str, str] | None = None
    reason: str | None = None
    sha256_in: str | None = None
    sha256_out: str | None = None
    bytes: int = 0
    seconds: float = 0.0
    attempt: int | None = None
    job_id: str | None = None
    models: list[dict[str, Any]] = field(default_factory=list)
    needs_review: bool | None = None
    earlier: bool = False

    def document(self) -> dict[str, Any]:
        """As a line for scripts."""
        return dict(vars(self))


@dataclass
class Totals:
    """What a run has done so far: files, and the bytes of the recordings; `failed_now` are news to this run."""

    restored: int = 0
    unchanged: int = 0
    failed: int = 0
    skipped: int = 0
    bytes: int = 0
    unchanged_bytes: int = 0
    failed_bytes: int = 0
    needs_review: int = 0
    failed_now: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count a file."""
        setattr(self, outcome.status, getattr(self, outcome.status) + 1)
        self.needs_review += outcome.needs_review is True
        self.failed_now += outcome.status == "failed" and not outcome.earlier
        if outcome.status == "restored":
            self.bytes += outcome.bytes
        elif outcome.status == "unchanged":
            self.unchanged_bytes += outcome.bytes
        elif outcome.status == "failed":
            self.failed_bytes += outcome.bytes

    @property
    def files(self) -> int:
        """Files that were dealt with, but for what was skipped."""
        return self.restored + self.unchanged + self.failed

    @property
    def bytes_over(self) -> int:
        """Bytes that need no more work."""
        return self.bytes + self.unchanged_bytes + self.failed_bytes


def shown(path: str) -> str:
    """Give a path as it can be shown: odd bytes and control characters as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
                   for char in path)  # fmt: skip
