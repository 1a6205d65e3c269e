"""The restorer's UNet over planes `[T, F, C]`.

Its upper levels have many values and few channels: they are convolved by tiles. The levels of 384 channels have two
thirds of the weights, which the tiles' transform would blow up fourfold, and an eighth of the arithmetic: those go tap
by tap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.backends.numba.cpu.arena import aligned_copy
from worker.backends.numba.cpu.compiling import Floats
from worker.backends.numba.cpu.products import PANEL, pack, panels
from worker.backends.numba.cpu.team import Team
from worker.backends.numba.planes import activate, double, halve, mix
from worker.backends.numba.taps import TapConvolution, share_values
from worker.backends.numba.tiles import TileConvolution
from worker.models.constants import GRID
from worker.models.folding import affine
from worker.models.unet import LEVELS, ResidualBlock, UNet

SLOPE = np.float32(0.01)
MANY = 384
"""Channels from which on a level is convolved tap by tap."""


@dataclass(frozen=True)
class Norm:
    """An evaluated batch norm: scale and shift of each channel."""

    scale: Floats
    shift: Floats

    @classmethod
    def of(cls, norm: Any) -> "Norm":
        """Take over a batch norm."""
        scale, shift = affine(norm)
        return cls(aligned_copy(scale.float().numpy()), aligned_copy(shift.float().numpy()))

    def part(self, start: int, stop: int) -> "Norm":
        """Those of some channels."""
        return Norm(self.scale[start:stop], self.shift[start:stop])


class Block:
    """A residual block, whose second norm is folded into its first convolution."""

    def __init__(self, block: ResidualBlock, team: Team) -> None:
        conv1: Any = block.conv1
        self.inputs, self.outputs = conv1.in_channels, conv1.out_channels
        kind = TapConvolution if self.outputs >= MANY else TileConvolution
        folded = Norm.of(block.bn2)
        self.norm, self.bias = Norm.of(block.bn1), folded.shift
        self.conv1 = kind(conv1.weight.numpy(), folded.scale, team)
        self.conv2 = kind(block.conv2.weight.numpy(), np.ones(self.outputs, np.float32), team)
        self.plane = kind.plane


class Level:
    """The residual blocks of one encoder or decoder, or of the bottom."""

    def __init__(self, blocks: Sequence[Any], team: Team, *, sources: Sequence[int]) -> None:
        """Take over the blocks; `sources` are the channels of each of the planes that are joined before them."""
        self._blocks = [Block(block, team) for block in blocks]
        self._team = team
        self._channels = self._blocks[0].outputs
        self._shortcut = Shortcut(blocks[0].shortcut, sources, team) if hasattr(blocks[0], "shortcut") else None
        # What the last block prepares for its successor, nobody uses.
        self._nothing = Norm(*(aligned_copy(np.full(self._channels, value, np.float32)) for value in (1, 0)))

    def __call__(self, *sources: Floats) -> Floats:
        """Planes `[T, F, C]`, joined by channels → `[T, F, outputs]`, in the caller's frame of the arena."""
        arena = self._team.arena
        rows, columns = sources[0].shape[:2]
        plane, inputs = self._blocks[0].plane, self._blocks[0].inputs
        x = arena.take(rows, columns, self._channels)
        with arena.frame():
            inner, ready = (plane(arena, rows, columns, self._channels) for _ in range(2))
            entered = plane(arena, rows, columns, inputs)
            entered[:, :, inputs:] = 0
            self._team.share_rows(rows, lambda first, last: self._enter(sources, first, last, entered, x))
            norms = [block.norm for block in self._blocks[1:]] + [self._nothing]
            for block, after in zip(self._blocks, norms, strict=True):
                block.conv1.into(entered, block.bias, SLOPE, (rows, columns), inner)
                block.conv2.onto(inner, after.scale, after.shift, SLOPE, x, ready)
                entered = ready
        return x

    def _enter(self, sources: Sequence[Floats], first: int, last: int, entered: Floats, x: Floats) -> None:
        """The first block's activation and its shortcut, for some rows."""
        norm, at = self._blocks[0].norm, 0
        for source in sources:
            part = norm.part(at, at + source.shape[2])
            activate(source, part.scale, part.shift, SLOPE, first, last, entered, at)
            at += source.shape[2]
        if self._shortcut:
            self._shortcut(sources, first, last, x)
        else:
            x[first:last] = sources[0][first:last]


class Shortcut:
    """A 1×1 convolution: around a block that changes the number of channels, and the last one of all."""

    def __init__(self, conv: Any, sources: Sequence[int], team: Team) -> None:
        weight = conv.weight[:, :, 0, 0].T.numpy()
        count = panels(weight.shape[1])
        self._weights = [team.shelf.take(count, inputs, PANEL) for inputs in sources]
        ends = np.cumsum([0, *sources])
        team.prepare(len(sources), lambda n: pack(weight[ends[n] : ends[n + 1]], self._weights[n], 0))
        self._bias = np.zeros(count * PANEL, np.float32)
        self._bias[: weight.shape[1]] = conv.bias.numpy()

    def __call__(self, sources: Sequence[Floats], first: int, last: int, x: Floats) -> None:
        """Rows `first` … `last` of x."""
        x[first:last] = self._bias
        for source, weights in zip(sources, self._weights, strict=True):
            mix(source, weights, first, last, x)


class QuickUNet:
    """The whole network; see `worker.models.unet.UNet`."""

    def __init__(self, unet: UNet, team: Team) -> None:
        part: Any = unet.get_submodule
        self._team = team
        depth = len(LEVELS)
        self._down = [
            Level(_blocks(part(f"encoder_block{level + 1}"), 1), team, sources=[inputs])
            for level, inputs in enumerate((2, *LEVELS[:-1]))
        ]
        self._bottom = Level([part("conv_block7")], team, sources=LEVELS[-1:])
        decoders = [part(f"decoder_block{number + 1}") for number in range(depth)]
        blocks = [_blocks(decoder, 2) for decoder in decoders]
        blocks[-1].append(part("after_conv_block1"))
        self._up = [
            Level(some, team, sources=[channels] * 2) for some, channels in zip(blocks, reversed(LEVELS), strict=True)
        ]
        self._spread = [Spread(decoder, team) for decoder in decoders]
        self._leave = Shortcut(part("after_conv2"), LEVELS[:1], team)

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
            x = self._bottom(x)
            for spread, level in zip(self._spread, self._up, strict=True):
                x = level(spread(x), skips.pop())
            left = self._team.arena.take(*x.shape[:2], PANEL)
            self._team.share_rows(len(x), lambda first, last: self._leave([x], first, last, left))
            return torch.from_numpy(left[:, :, 0].copy())

    def _halve(self, x: Floats) -> Floats:
        y = self._team.arena.take(x.shape[0] // 2, x.shape[1] // 2, x.shape[2])
        self._team.share_rows(len(y), lambda first, last: halve(x, first, last, y))
        return y


class Spread:
    """What doubles time and frequency before a decoder's blocks: norm, ReLU, transposed convolution."""

    def __init__(self, decoder: Any, team: Team) -> None:
        self._norm = Norm.of(decoder.bn1)
        taps = decoder.conv1.weight.permute(2, 3, 0, 1).numpy()
        _, _, inputs, self._outputs = taps.shape
        count = panels(self._outputs)
        self._sides = team.shelf.take(3, count, 2 * inputs, PANEL)
        self._middles = team.shelf.take(3, count, inputs, PANEL)
        self._team = team

        def work(row: int) -> None:
            pack(taps[row, 2], self._sides[row], 0)
            pack(taps[row, 0], self._sides[row], inputs)
            pack(taps[row, 1], self._middles[row], 0)

        team.prepare(3, work)

    def __call__(self, x: Floats) -> Floats:
        """`[T, F, inputs]` → `[2T, 2F+1, outputs]`, in the caller's frame of the arena."""
        team, (rows, columns, channels) = self._team, x.shape
        y = team.arena.take(2 * rows, 2 * columns + 1, self._outputs)
        with team.arena.frame():
            plane = TapConvolution.plane(team.arena, rows, columns, channels)
            scale, shift, none = self._norm.scale, self._norm.shift, np.float32(0)
            team.share_rows(rows, lambda first, last: activate(x, scale, shift, none, first, last, plane, 0))

            def work(first: int, last: int, some: tuple[int, int], sums: Floats) -> None:
                double(plane, self._sides, self._middles, first, last, some, y, sums)

            share_values(team, rows * (columns + 1), self._sides.shape[1], work)
        return y


def _blocks(module: nn.Module, first: int) -> list[Any]:
    return [module.get_submodule(f"conv_block{number}") for number in range(first, first + 4)]
