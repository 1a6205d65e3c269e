"""Where batches are computed: how windows get there and results come back, and what a model thread needs there."""

import threading
from collections.abc import Sequence
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]


class Place(Protocol):
    """A device, as a model thread uses it."""

    def enter(self) -> None:
        """Make the calling thread ready to compute; once, before its first batch."""
        ...

    def upload(self, windows: Sequence[Floats]) -> Tensor:
        """Stack windows of one shape into a tensor `[B, …]` on the device."""
        ...

    def download(self, tensor: Tensor) -> Floats:
        """Wait for a result and give it as an array of the caller's own."""
        ...

    def release(self) -> None:
        """Give memory back that is only kept for later."""
        ...


class Host:
    """The CPU; each model thread computes on `threads` cores (0: as many as torch takes)."""

    def __init__(self, *, threads: int = 0) -> None:
        self._threads = threads

    def enter(self) -> None:
        """Set the number of cores, which is the thread's own."""
        if self._threads:
            torch.set_num_threads(self._threads)

    def upload(self, windows: Sequence[Floats]) -> Tensor:
        """Stack them."""
        return torch.from_numpy(np.stack(windows))

    def download(self, tensor: Tensor) -> Floats:
        """The tensor's own memory."""
        return cast(Floats, tensor.to(torch.float32).numpy())

    def release(self) -> None:
        """Nothing is kept."""


class Cuda:
    """A CUDA device. Every model thread has a stream of its own.

    While one thread's batch is computed, the next thread stacks its windows into pinned memory, copies them and
    queues its work behind: the device goes from batch to batch without a pause, and where a batch leaves it half
    idle (the denoiser's recurrence is a chain of small steps), the other's work fills it.
    """

    def __init__(self, device: torch.device, *, streams: "Streams | None" = None) -> None:
        self._streams = streams or CudaStreams(device)
        self._device = device

    def enter(self) -> None:
        """Make a stream the thread's current one."""
        self._streams.enter()

    def upload(self, windows: Sequence[Floats]) -> Tensor:
        """Stack into pinned memory and copy from there, behind what the stream has to do."""
        pinned = self._streams.pinned((len(windows), *windows[0].shape))
        np.stack(windows, out=pinned.numpy())
        # Torch keeps the pinned memory until the copy is done, and then for the next batch.
        return pinned.to(self._device, non_blocking=True)

    def download(self, tensor: Tensor) -> Floats:
        """Copy to pinned memory, wait for this stream alone, and copy from there: results may live long."""
        pinned = self._streams.pinned(tuple(tensor.shape))
        pinned.copy_(tensor, non_blocking=True)
        self._streams.wait()
        return cast(Floats, pinned.numpy().copy())

    def release(self) -> None:
        """Empty torch's cache of device memory, so that a smaller batch finds it in one piece."""
        self._streams.release()


class Streams(Protocol):
    """What of CUDA the place uses; a test has another."""

    def enter(self) -> None:
        """Make a new stream the thread's own."""
        ...

    def pinned(self, shape: tuple[int, ...]) -> Tensor:
        """Host memory that the device can read by itself, float32."""
        ...

    def wait(self) -> None:
        """Wait until the thread's stream has done all it was given."""
        ...

    def release(self) -> None:
        """Empty the cache of device memory."""
        ...


class CudaStreams:
    """The real ones."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._own = threading.local()

    def enter(self) -> None:
        """Make a new stream the thread's own, for good; torch's current stream is a thread's."""
        torch.cuda.set_device(self._device)
        torch.cuda.set_stream(torch.cuda.Stream(self._device))  # type: ignore[no-untyped-call]
        # Waiting for such an event sleeps; waiting for a stream would burn a core that reads and writes need.
        self._own.done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]

    def pinned(self, shape: tuple[int, ...]) -> Tensor:
        """From torch's cache of pinned memory."""
        return torch.empty(shape, dtype=torch.float32, pin_memory=True)

    def wait(self) -> None:
        """Sleep until the stream is done."""
        done: Any = self._own.done
        done.record()
        done.synchronize()

    def release(self) -> None:
        """Empty the cache of device memory."""
        torch.cuda.empty_cache()
