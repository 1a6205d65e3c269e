"""The restorer's UNet over planes `[T, F, C]`: its wide levels by Winograd convolutions.

The levels of 384 channels have two thirds of the weights, which the transform would blow up fourfold, and an eighth of
the arithmetic: PyTorch runs them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.backends.numba.arena import Arena
from worker.backends.numba.blas import sgemm_address
from worker.backends.numba.compiling import Floats
from worker.backends.numba.planes import activate, convolve_into, convolve_onto, halve, mix
from worker.backends.numba.team import Team, cut
from worker.backends.numba.winograd import transform_planes
from worker.models.constants import GRID
from worker.models.folding import affine
from worker.models.unet import ResidualBlock, UNet

SLOPE = np.float32(0.01)
UNITS = {32: 32, 64: 32, 128: 30, 256: 128}
"""Tiles of one turn, by channels; see `vocoder.UNITS`."""
WIDE = 4
"""Levels that Winograd runs, from the top."""


@dataclass(frozen=True)
class Norm:
    """An evaluated batch norm: scale and shift of each channel."""

    scale: Floats
    shift: Floats

    @classmethod
    def of(cls, norm: Any) -> "Norm":
        """Take over a batch norm."""
        scale, shift = affine(norm)
        return cls(scale.float().numpy(), shift.float().numpy())

    def part(self, start: int, stop: int) -> "Norm":
        """Those of some channels."""
        return Norm(self.scale[start:stop], self.shift[start:stop])


class Block:
    """A residual block, its second norm folded."""

    def __init__(self, block: ResidualBlock) -> None:
        conv1: Any = block.conv1
        self.norm = Norm.of(block.bn1)
        self.filters1, self.bias1 = transform_planes(conv1.weight), conv1.bias.numpy()
        self.filters2 = transform_planes(block.conv2.weight)
        self.inputs, self.outputs = conv1.in_channels, conv1.out_channels
        if self.inputs != self.outputs:
            shortcut: Any = block.shortcut
            self.shortcut = np.ascontiguousarray(shortcut.weight[:, :, 0, 0].T.numpy())
            self.shortcut_bias = shortcut.bias.numpy()


class Level:
    """The residual blocks of one encoder or decoder; the first one changes the number of channels."""

    def __init__(self, blocks: Sequence[Any], team: Team) -> None:
        self._blocks = [Block(block) for block in blocks]
        self._team = team
        self._channels = self._blocks[0].outputs
        # What the last block prepares for its successor, nobody uses.
        self._nothing = Norm(np.ones(self._channels, np.float32), np.zeros(self._channels, np.float32))

    def __call__(self, *sources: Floats) -> Floats:
        """Planes `[T, F, C]`, joined by channels → `[T, F, outputs]`, in the caller's frame of the arena."""
        arena = self._team.arena
        rows, columns = sources[0].shape[:2]
        x = arena.take(rows, columns, self._channels)
        with arena.frame():
            inner, ready = (padded(arena, rows, columns, self._channels) for _ in range(2))
            entered = padded(arena, rows, columns, self._blocks[0].inputs)
            self._team.share_rows(rows, lambda start, stop: self._enter(sources, start, stop, entered, x))
            norms = [block.norm for block in self._blocks[1:]] + [self._nothing]
            for block, after in zip(self._blocks, norms, strict=True):
                self._run(block, after, entered, inner, x, ready)
                entered = ready
        return x

    def _enter(self, sources: Sequence[Floats], start: int, stop: int, entered: Floats, x: Floats) -> None:
        """The first block's activation and its shortcut, for some rows."""
        first, at = self._blocks[0], 0
        x[start:stop] = first.shortcut_bias
        for source in sources:
            norm = first.norm.part(at, at + source.shape[2])
            activate(source, norm.scale, norm.shift, SLOPE, start, stop, entered, at)
            weights = first.shortcut[at : at + source.shape[2]]
            mix(sgemm_address(), source, weights, start, stop, x)
            at += source.shape[2]

    def _run(self, block: Block, after: Norm, entered: Floats, inner: Floats, x: Floats, ready: Floats) -> None:
        gemm = sgemm_address()
        rows, columns, channels = x.shape
        total = -(-rows // 4) * -(-columns // 4)
        parts, turn = cut(total, UNITS[channels])
        spaces = [space(turn, block.inputs, channels) for _ in range(self._team.size)]
        more = [space(turn, channels, channels) for _ in range(self._team.size)]

        def into(index: int, member: int) -> None:
            first, last = index * turn, min((index + 1) * turn, total)
            convolve_into(
                gemm, entered, block.filters1, block.bias1, SLOPE, (rows, columns), first, last, inner, *spaces[member]
            )

        def onto(index: int, member: int) -> None:
            first, last = index * turn, min((index + 1) * turn, total)
            convolve_onto(
                gemm, inner, block.filters2, after.scale, after.shift, SLOPE, first, last, x, ready, *more[member]
            )

        self._team.share(parts, into)
        self._team.share(parts, onto)


def padded(arena: Arena, rows: int, columns: int, channels: int) -> Floats:
    """A padded plane (see `planes`): zeros around rows and columns that are still to be written."""
    plane = arena.take(-(-rows // 4) * 4 + 2, -(-columns // 4) * 4 + 2, channels)
    plane[0], plane[rows + 1 :] = 0, 0
    plane[:, 0], plane[:, columns + 1 :] = 0, 0
    return plane


def space(turn: int, inputs: int, outputs: int) -> tuple[Floats, Floats, Floats, Floats]:
    """A member's scratch for `planes.convolve_into` and `convolve_onto`."""
    V, M = np.empty((36, turn, inputs), np.float32), np.empty((36, turn, outputs), np.float32)
    return V, M, np.empty((36, max(inputs, outputs)), np.float32), np.empty((16, outputs), np.float32)


class WinogradUNet:
    """The whole network; see `worker.models.unet.UNet`."""

    def __init__(self, unet: UNet, team: Team) -> None:
        part: Any = unet.get_submodule
        self._team = team
        self._down = [Level(_blocks(part(f"encoder_block{level}"), 1), team) for level in range(1, WIDE + 1)]
        last = [part("after_conv_block1")]
        self._up = [
            Level(_blocks(part(f"decoder_block{level}"), 2) + (last if level == 6 else []), team)
            for level in range(7 - WIDE, 7)
        ]
        self._spread = [Spread(part(f"decoder_block{level}")) for level in range(7 - WIDE, 7)]
        names = [f"encoder_block{level}" for level in range(WIDE + 1, 7)]
        self._deep_down = [part(name).to(memory_format=torch.channels_last) for name in names]
        names = [f"decoder_block{level}" for level in range(1, 7 - WIDE)]
        self._deep_up = [part(name).to(memory_format=torch.channels_last) for name in names]
        self._bottom = part("conv_block7").to(memory_format=torch.channels_last)
        leave: Any = part("after_conv2")
        self._leave, self._leave_bias = leave.weight[0, :, 0, 0].clone(), leave.bias.clone()

    def __call__(self, logs: Tensor) -> Tensor:
        """`[B, 2, T, 128]` → `[B, 1, T, 128]`."""
        frames = logs.shape[2]
        filled = functional.pad(logs, (0, -1, 0, -frames % GRID)).permute(0, 2, 3, 1)
        items = [self._run(np.ascontiguousarray(item.numpy())) for item in filled]
        return functional.pad(torch.stack(items)[:, None], (0, 1))[:, :, :frames]

    def _run(self, x: Floats) -> Tensor:
        skips = []
        with self._team.arena.frame():
            for level in self._down:
                x = level(x)
                skips.append(x)
                x = self._halve(x)
            y = self._dive(_tensor(x))
            for spread, up in zip(self._spread, self._up, strict=True):
                y = _tensor(up(_plane(spread(y)), skips.pop()))
            left: Tensor = y[0].permute(1, 2, 0) @ self._leave + self._leave_bias
        return left

    def _halve(self, x: Floats) -> Floats:
        y = self._team.arena.take(x.shape[0] // 2, x.shape[1] // 2, x.shape[2])
        self._team.share_rows(len(y), lambda first, last: halve(x, first, last, y))
        return y

    def _dive(self, x: Tensor) -> Tensor:
        """The levels below, `[1, C, T, F]` in channels_last order."""
        skips = []
        for encoder in self._deep_down:
            x = encoder(x)
            skips.append(x)
            x = functional.avg_pool2d(x, 2)
        x = self._bottom(x)
        for decoder in self._deep_up:
            x = decoder(x, skips.pop())
        return x


class Spread:
    """What doubles time and frequency before a decoder's blocks."""

    def __init__(self, decoder: Any) -> None:
        self._norm = decoder.bn1
        self._conv = decoder.conv1.to(memory_format=torch.channels_last)

    def __call__(self, x: Tensor) -> Tensor:
        """`[1, inputs, T, F]` → `[1, outputs, 2T, 2F+1]`."""
        up: Tensor = self._conv(functional.relu(self._norm(x)))
        return up[:, :, :-1]


def _blocks(module: nn.Module, first: int) -> list[Any]:
    return [module.get_submodule(f"conv_block{number}") for number in range(first, first + 4)]


def _tensor(plane: Floats) -> Tensor:
    return torch.from_numpy(plane).permute(2, 0, 1)[None]


def _plane(tensor: Tensor) -> Floats:
    return np.ascontiguousarray(tensor[0].permute(1, 2, 0).numpy())
