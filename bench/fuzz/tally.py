"""What a fuzz has seen: how many inputs, what came of them, what was wrong, and what grew."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

LEAST = 500
"""Inputs below which nothing is said about growth: a heap needs some to find its size."""
MOST_GROWTH_MIB = 48
MOST_FILES = 8
SHOWN = 20


@dataclass
class Tally:
    """Of one target; `folder` takes the inputs that were findings."""

    name: str
    folder: Path
    endings: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    """Resident memory in KiB after each input."""
    files: list[int] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[int, str] = (0, "")

    @property
    def inputs(self) -> int:
        """How many were tried."""
        return self.endings.total()

    def note(self, ending: str, data: bytes, *, seconds: float, grown_kib: int = 0, label: str = "") -> None:
        """Count one input; *label* names it where it was crafted, its checksum where not."""
        name = label or hashlib.sha256(data).hexdigest()[:12]
        told = f"{name} ({len(data)} bytes, {ending})"
        self.endings[ending] += 1
        self.slowest = max(self.slowest, (round(seconds, 3), told))
        self.largest = max(self.largest, (grown_kib // 1024, told))

    def level(self, rss_kib: int, files: int) -> None:
        """Write down what the process holds between two inputs."""
        self.levels.append(rss_kib)
        self.files.append(files)

    def fault(self, what: str, data: bytes) -> None:
        """Keep an input that found something."""
        name = hashlib.sha256(data).hexdigest()[:12]
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{self.name}-{name}").write_bytes(data)
        self.findings.append(f"{name}: {what}")

    def restarted(self) -> None:
        """Begin anew with what the process holds: it is another one."""
        self.levels.clear()
        self.files.clear()

    def growth(self) -> tuple[int, int]:
        """Give MiB and open files that the process holds at the end beyond what it held after a third."""
        tenth = len(self.levels) // 10
        if len(self.levels) < LEAST:
            return 0, 0
        early, late = slice(3 * tenth, 4 * tenth), slice(-tenth, None)
        grown = median(self.levels[late]) - median(self.levels[early])
        return int(grown) // 1024, int(median(self.files[late]) - median(self.files[early]))

    def close(self) -> None:
        """Judge what grew."""
        memory, files = self.growth()
        if memory > MOST_GROWTH_MIB or files > MOST_FILES:
            self.findings.append(f"leak: {memory} MiB and {files} open files more at the end")

    def summary(self) -> dict[str, object]:
        """Give the figures."""
        memory, files = self.growth()
        return {
            "target": self.name,
            "inputs": self.inputs,
            "endings": dict(self.endings.most_common(SHOWN)),
            "findings": self.findings,
            "grown_mib": memory,
            "grown_files": files,
            "rss_mib": [level // 1024 for level in (*self.levels[:1], *self.levels[-1:])],
            "slowest": self.slowest,
            "most_memory_mib": self.largest,
        }
