"""The vocoder's residual stacks, nine tenths of its arithmetic: by cuDNN or by kernels of our own, whichever is faster.

Which that is depends on the card and on the versions of cuDNN and Triton, so it is measured where it runs, when the
model is loaded; and what does not give cuDNN's result is not taken.
"""

import statistics
from collections.abc import Callable, Mapping
from typing import cast

import structlog
import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.backends.cuda.convolution import Convolution, convolution
from worker.models.constants import HOP
from worker.models.tfgan import ResidualStack

log = structlog.get_logger()

Stack = Callable[[Tensor], Tensor]
"""A residual stack: `[B, C, 1, t]` → the same shape, both in channels_last."""
Clock = Callable[[Stack, Tensor], float]
"""Seconds that a stack takes."""

LEAST_DB = 25.0
"""How near a stack must come to cuDNN's, which in 16 bits has as much error of its own."""
VALUES = 1024 * 64 * HOP
"""In the activation that is measured on: ten seconds of the last stack, more than the caches hold."""


def plain_stack(dtype: torch.dtype) -> Callable[[ResidualStack], Stack]:
    """The residual stacks by cuDNN, one operation after the other."""

    def make(stack: ResidualStack) -> Stack:
        pairs = [
            (convolution(cast(nn.Sequential, pair)[1], dtype), convolution(cast(nn.Sequential, pair)[3], dtype))
            for pair in stack.layers
        ]
        return lambda x: _run_pairs(pairs, x)

    return make


def fastest_stack(dtype: torch.dtype, device: torch.device) -> Callable[[ResidualStack], Stack]:
    """The residual stacks by what is fastest on the device; by cuDNN where Triton is not installed."""

    def make(stack: ResidualStack) -> Stack:
        channels = cast(nn.Conv1d, cast(nn.Sequential, stack.layers[0])[1]).in_channels
        candidates = {"cudnn": plain_stack(dtype)(stack), **_fused(stack, channels, dtype)}
        shape = 1, channels, 1, VALUES // channels
        x = torch.randn(shape, device=device).to(dtype).contiguous(memory_format=torch.channels_last)
        with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
            name, times = fastest(candidates, x, seconds_on_cuda)
        shown = {one: round(1e3 * seconds, 2) for one, seconds in times.items()}
        log.info("residual stack", channels=channels, kernels=name, milliseconds=shown)
        return candidates[name]

    return make


def fastest(candidates: Mapping[str, Stack], x: Tensor, clock: Clock) -> tuple[str, dict[str, float]]:
    """Name the fastest of those that give what the first one gives, and the seconds of each of them."""
    (first, reference), *others = candidates.items()
    with torch.inference_mode():
        expected = reference(x)
        times = {first: clock(reference, x)}
        for name, stack in others:
            try:
                if _agrees(expected, stack(x)):
                    times[name] = clock(stack, x)
                    continue
                reason = "its result is another"
            except Exception as error:  # a compiler or a driver that will not have it
                reason = type(error).__name__
            log.warning("kernels not used", kernels=name, reason=reason)
    return min(times, key=times.__getitem__), times


def seconds_on_cuda(stack: Stack, x: Tensor, *, rounds: int = 5) -> float:
    """The median time of a stack on the device, by its own clock, after a pass to warm up."""
    stack(x)
    times: list[float] = []
    for _ in range(rounds):
        begun, done = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begun.record()
        stack(x)
        done.record()
        done.synchronize()
        times.append(begun.elapsed_time(done) / 1e3)
    return statistics.median(times)


def _fused(stack: ResidualStack, channels: int, dtype: torch.dtype) -> dict[str, Stack]:
    try:
        from worker.backends.cuda.fused import TILES, FusedStack
    except ImportError:
        return {}
    return {f"triton {tile[0]}x{tile[1]}x{tile[2]}": FusedStack(stack, dtype, tile) for tile in TILES.get(channels, ())}


def _agrees(expected: Tensor, found: Tensor) -> bool:
    # Zeros, or what another pass left in memory, would not come near.
    noise = (found.float() - expected.float()).norm()
    return bool(torch.isfinite(noise)) and bool(noise <= expected.float().norm() * 10 ** (-LEAST_DB / 20))


def _run_pairs(pairs: list[tuple[Convolution, Convolution]], x: Tensor) -> Tensor:
    for dilated, near in pairs:
        y = dilated(functional.leaky_relu(x, 0.01))
        x = near(functional.leaky_relu(y, 0.01, inplace=True)).add_(x)
    return x
