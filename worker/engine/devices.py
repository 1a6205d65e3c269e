"""The devices that a worker computes on: each has model threads of its own, which all of its models share."""

import threading
from dataclasses import dataclass

import torch

from worker.engine.batcher import Batcher
from worker.engine.places import Cuda, Host, Place


@dataclass(frozen=True)
class Device:
    """One of them.

    Attributes:
        place: how windows get there and results come back.
        batcher: its model threads.
        most: windows of the largest batch of any of its models.
    """

    place: Place
    batcher: Batcher
    most: int


class Devices:
    """All of them, by name; they compute beside each other."""

    def __init__(self, *, max_wait_ms: float = 0.0) -> None:
        """A batch waits so long for more."""
        self._max_wait_ms = max_wait_ms
        self._lock = threading.Lock()
        self._open: dict[str, Device] = {}

    def open(self, device: torch.device, *, threads: int, most: int, place: Place | None = None) -> Device:
        """Give a device; where it was not open yet, with so many model threads and batches of at most so many."""
        name = name_of(device)
        with self._lock:
            if name not in self._open:
                there = place or place_of(device, model_threads=threads)
                batcher = Batcher(max_wait_ms=self._max_wait_ms, threads=threads, place=there)
                self._open[name] = Device(there, batcher, most)
            return self._open[name]

    @property
    def at_once(self) -> int:
        """How many windows are computed at once, if there are enough."""
        return sum(device.batcher.threads * device.most for device in self._all())

    def busy_seconds(self) -> float:
        """Tell for how long the oldest batch in hand on any device has been running; 0 if there is none."""
        return max((device.batcher.busy_seconds() for device in self._all()), default=0.0)

    def alive(self) -> bool:
        """Tell whether all model threads run."""
        return all(device.batcher.alive() for device in self._all())

    def close(self) -> None:
        """Finish what was submitted and end all model threads."""
        for device in self._all():
            device.batcher.close()

    def _all(self) -> list[Device]:
        with self._lock:
            return list(self._open.values())


def name_of(device: torch.device) -> str:
    """Name a device: `cuda` is the first, for nothing here makes another the current one."""
    return "cuda:0" if str(device) == "cuda" else str(device)


def place_of(device: torch.device, *, model_threads: int = 1) -> Place:
    """The place for a device; on a CPU several model threads share the cores."""
    if device.type == "cuda":
        return Cuda(device)
    return Host(threads=max(1, torch.get_num_threads() // model_threads) if model_threads > 1 else 0)
