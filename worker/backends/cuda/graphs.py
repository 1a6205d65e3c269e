"""Passes that were recorded once and are replayed with one launch.

A pass over one window launches hundreds of kernels, many shorter than their launch. As a CUDA graph they follow each
other without the host. A graph holds for one shape alone and keeps its buffers, so only the shapes that long files
bring, in small batches, are recorded, and before work is taken; everything else is launched kernel by kernel.
"""

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

Pass = Callable[[Tensor], Tensor]


class Recorder(Protocol):
    """Turns a pass into one that is replayed."""

    def record(self, function: Pass, given: Tensor) -> Pass:
        """Record `function` on tensors shaped like `given`; what the replay gives is the caller's own."""
        ...


class Graphs:
    """The recorded passes of one network. Any thread may call; one that replays keeps the others waiting.

    Without a recorder (on a CPU) every pass runs as it is.
    """

    def __init__(self, recorder: Recorder | None, *, largest_batch: int = 4) -> None:
        self._recorder = recorder
        self._largest = largest_batch
        self._kept: dict[Hashable, Pass] = {}
        self._recording = False

    def run(self, key: Hashable, function: Pass, given: Tensor) -> Tensor:
        """Run `function` on `given`, or its recording; `key` names all that it depends on but `given`'s values."""
        whole = key, tuple(given.shape)
        if self._recording and self._recorder and whole not in self._kept and given.shape[0] <= self._largest:
            self._kept[whole] = self._recorder.record(function, given)
        return self._kept.get(whole, function)(given)

    def __len__(self) -> int:
        return len(self._kept)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record each new shape of a small batch that comes within the block."""
        self._recording = True
        try:
            yield
        finally:
            self._recording = False


class CudaRecorder:
    """Records CUDA graphs that share one pool of memory, which is why they are replayed in turn."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._lock = threading.Lock()
        self._free: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def record(self, function: Pass, given: Tensor) -> Pass:
        """Record `function`; its replays wait for each other on the device, also those of other streams."""
        held = given.clone()
        function(held)  # handles, plans and compiled kernels come to be outside of the graph
        torch.cuda.synchronize(self._device)
        graph = torch.cuda.CUDAGraph()
        # Threads that load or serve other models meanwhile may allocate.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            made = function(held)

        def replay(fresh: Tensor) -> Tensor:
            stream = torch.cuda.current_stream(self._device)
            with self._lock:
                stream.wait_event(self._free)
                held.copy_(fresh)
                graph.replay()
                result = made.clone()
                self._free.record(stream)
            return result

        return replay
