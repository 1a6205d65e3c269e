"""A residual stack in two kernels a pair, for 16-bit activations.

cuDNN's convolutions leave bias, activation and addition to passes of their own over memory: about fifteen a pair, which
is most of the time where channels are few. Here the first kernel reads x and writes
h = lrelu(conv_d(lrelu(x)) + b), the second reads h and x and writes conv(h) + b + x: five. Both are an implicit matrix
product over three shifted reads of the same rows; sums, biases and the addition are fp32.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from worker.models.tfgan import ResidualStack

Tile = tuple[int, int, int, int, int]
"""Rows, columns and depth of what a program computes at a time, its warps, and how many loads are in flight."""
TILES: dict[int, tuple[Tile, ...]] = {
    64: ((128, 64, 64, 4, 3), (256, 64, 64, 8, 3)),
    128: ((128, 128, 64, 8, 3), (128, 128, 64, 4, 3)),
    256: ((128, 256, 64, 8, 3), (128, 128, 64, 4, 3)),
    512: ((128, 256, 64, 8, 3), (128, 128, 64, 4, 3)),
}
"""By channels; which is faster is found out where they run. Built for sm_90 all become warpgroup matrix products fed
by asynchronous copies; only the widest spill a few registers, after their loop."""


@triton.jit  # type: ignore[untyped-decorator]
def _convolve(  # type: ignore[no-untyped-def]  # noqa: ANN202
    x,  # noqa: ANN001
    weight,  # noqa: ANN001
    bias,  # noqa: ANN001
    shortcut,  # noqa: ANN001
    y,  # noqa: ANN001
    length,  # noqa: ANN001
    x_item,  # noqa: ANN001
    shortcut_item,  # noqa: ANN001
    dilation,  # noqa: ANN001
    CHANNELS: tl.constexpr,
    FIRST: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    across: tl.constexpr = CHANNELS // COLUMNS
    deep: tl.constexpr = CHANNELS // DEPTH
    begin = (tl.program_id(0) // across) * ROWS
    item = tl.program_id(1).to(tl.int64)
    near = tl.arange(0, ROWS)
    rows = begin + near
    columns = (tl.program_id(0) % across) * COLUMNS + tl.arange(0, COLUMNS)
    start = begin.to(tl.int64) * CHANNELS  # what is added to it fits 32 bits
    inputs = x + item * x_item + start
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for step in range(3 * deep):
        shift = (step // deep - 1) * dilation
        depth = (step % deep) * DEPTH + tl.arange(0, DEPTH)
        inside = (rows + shift >= 0) & (rows + shift < length)
        left = tl.load(inputs + (near + shift)[:, None] * CHANNELS + depth[None, :], mask=inside[:, None], other=0.0)
        if FIRST:
            left = tl.where(left > 0, left, (left * 0.01).to(left.dtype))
        taps = (step // deep) * CHANNELS + depth
        right = tl.load(weight + taps[:, None] * CHANNELS + columns[None, :])
        total = tl.dot(left, right, total)
    total += tl.load(bias + columns)[None, :]
    place = near[:, None] * CHANNELS + columns[None, :]
    within = (rows < length)[:, None]
    if FIRST:
        total = tl.where(total > 0, total, total * 0.01)
    else:
        total += tl.load(shortcut + item * shortcut_item + start + place, mask=within, other=0.0).to(tl.float32)
    made = y + item * length * CHANNELS + start
    tl.store(made + place, total.to(y.dtype.element_ty), mask=within)


@dataclass(frozen=True)
class _Layer:
    """Weight `[3·C, C]` (tap and input, output) of the activations' dtype, bias `[C]` float32."""

    weight: Tensor
    bias: Tensor
    dilation: int
    tile: Tile

    def run(self, x: Tensor, shortcut: Tensor | None) -> Tensor:
        items, channels, _, length = x.shape
        y = torch.empty((items, channels, 1, length), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        rows, columns, depth, warps, stages = self.tile
        added = x if shortcut is None else shortcut
        cast(Any, _convolve)[(triton.cdiv(length, rows) * (channels // columns), items)](
            x,
            self.weight,
            self.bias,
            added,
            y,
            length,
            x.stride(0),
            added.stride(0),
            self.dilation,
            CHANNELS=channels,
            FIRST=shortcut is None,
            ROWS=rows,
            COLUMNS=columns,
            DEPTH=depth,
            num_warps=warps,
            num_stages=stages,
        )
        return y


class FusedStack:
    """A residual stack `[B, C, 1, t]` → the same shape, in channels_last; a crop in time of such a signal will do."""

    def __init__(self, stack: ResidualStack, dtype: torch.dtype, tile: Tile) -> None:
        self._pairs = [
            (_layer(cast(nn.Sequential, pair)[1], dtype, tile), _layer(cast(nn.Sequential, pair)[3], dtype, tile))
            for pair in stack.layers
        ]

    def __call__(self, x: Tensor) -> Tensor:
        """Run the eight pairs."""
        if x.stride(3) != x.shape[1] or x.stride(1) != 1:
            x = x.contiguous(memory_format=torch.channels_last)
        for dilated, near in self._pairs:
            x = near.run(dilated.run(x, None), x)
        return x


def _layer(layer: nn.Module, dtype: torch.dtype, tile: Tile) -> _Layer:
    assert isinstance(layer, nn.Conv1d)
    assert layer.bias is not None
    weight = layer.weight.detach().permute(2, 1, 0).reshape(-1, layer.out_channels).to(dtype).contiguous()
    return _Layer(weight, layer.bias.detach().float(), layer.dilation[0], tile)
