"""The vocoder's network over signals `[T, C]`, its residual stacks by Winograd convolutions."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worker.backends.numba.cpu.arena import Arena, aligned_copy
from worker.backends.numba.cpu.compiling import Floats
from worker.backends.numba.cpu.products import FEW, PANEL, pack, panels
from worker.backends.numba.cpu.team import Team, cut
from worker.backends.numba.signals import bend, pack_spread, project, spread
from worker.backends.numba.units import convolve, convolve_onto, convolve_plainly, transform_filters, units, worthy
from worker.backends.numba.winograd import PRODUCTS, filter_transform
from worker.models.tfgan import FACTORS, TFGAN, Plan, Range, ResidualStack, Upsampler, plan_ranges

Space = tuple[Floats, Floats, Floats, Floats]
"""Scratch of one member of the team; see `units.convolve`."""

UNITS = 112
"""Units of one turn, a multiple of `FEW`: what is made of them stays in the cache."""
PART_UNITS = 1024
"""Units that a thread takes at once, at 64 channels; fewer where there are more."""
LONG = 81
"""Dilations from which on the rows that fill no unit are worth a path of their own."""
TILE = 441 * 750
"""Samples for which the two wide last stages are calculated at once: bounds the memory."""


class Layer:
    """One convolution of a residual stack."""

    def __init__(self, conv: Any, kernel: Callable[..., None], team: Team, *, slope: float) -> None:
        """Take over a convolution, to be run by a kernel with leaky ReLUs of this slope (1 for none)."""
        self._filters, self._bias = _transformed(conv.weight.numpy(), team), conv.bias.numpy()
        self._kernel, self._dilation, self._slope = kernel, conv.dilation[0], np.float32(slope)
        self._channels = len(self._bias)
        self._taps: Floats | None = None
        if self._dilation >= LONG:
            taps = conv.weight.permute(2, 1, 0).numpy()
            self._taps = team.shelf.take(len(taps), panels(self._channels), self._channels, PANEL)
            team.prepare(len(taps), partial(self._pack_tap, taps))

    def _pack_tap(self, taps: Floats, tap: int) -> None:
        assert self._taps is not None
        pack(taps[tap], self._taps[tap], 0)

    def __call__(self, source: Floats, target: Floats, spaces: list[Space], team: Team) -> None:
        """`[T, C]` → `[T, C]`; `spaces` are the members' scratch."""
        rows, most = len(source), max(UNITS, PART_UNITS * 64 // self._channels)
        quick = worthy(rows, self._dilation) if self._taps is not None else rows
        total = units(quick, self._dilation)
        parts, size = cut(total, most, unit=FEW, members=team.size)
        turn = cut(size, UNITS, unit=FEW)[1]
        others, other_size = cut(rows - quick, most, unit=FEW, members=team.size)

        def work(part: int, member: int) -> None:
            if part < parts:
                first, last = part * size, min((part + 1) * size, total)
                self._kernel(
                    source, self._filters, self._bias, self._dilation, first, last, turn, self._slope, target,
                    *spaces[member],
                )  # fmt: skip
            else:
                first = quick + (part - parts) * other_size
                self._run_rows(source, target, first, min(first + other_size, rows), spaces[member])

        team.share(parts + others, work)

    def _run_rows(self, source: Floats, target: Floats, first: int, last: int, space: Space) -> None:
        assert self._taps is not None
        convolve_plainly(
            source, self._taps, self._bias, self._dilation,
            first, last, self._slope, target, space[0][0], space[0][1],
        )  # fmt: skip


class Stack:
    """A residual stack, in place."""

    def __init__(self, stack: ResidualStack, team: Team) -> None:
        pairs: Any = stack.layers
        self._pairs = [
            (Layer(pair[1], convolve, team, slope=0.01), Layer(pair[3], convolve_onto, team, slope=1.0))
            for pair in pairs
        ]
        self._channels = pairs[0][1].out_channels

    def __call__(self, x: Floats, team: Team) -> None:
        """`[T, C]`, in place."""
        with team.arena.frame():
            inner = team.arena.take(*x.shape)
            spaces = [self._space(team.arena) for _ in range(team.size)]
            for dilated, plain in self._pairs:
                dilated(x, inner, spaces, team)
                plain(inner, x, spaces, team)

    def _space(self, arena: Arena) -> Space:
        V, M = (arena.take(PRODUCTS, UNITS, columns) for columns in (self._channels, PANEL))
        zero, spare = (arena.take(self._channels) for _ in range(2))
        zero[:] = 0
        return V, M, zero, spare


class Spreader:
    """Leaky ReLU, x + sin(x), transposed convolution."""

    ROWS = 256

    def __init__(self, upsampler: Upsampler, team: Team) -> None:
        layer = upsampler.layer
        self.factor = int(layer.stride[0])
        self.outputs = layer.out_channels
        self._padding = int(layer.padding[0])
        count, taps = panels(self.factor * self.outputs), layer.weight.numpy()
        self._weights = team.shelf.take(count, 2 * layer.in_channels, PANEL)
        team.prepare(count, lambda panel: pack_spread(taps, self.factor, panel, panel + 1, self._weights))
        assert layer.bias is not None
        self._bias = aligned_copy(np.tile(layer.bias.numpy(), self.factor))

    def __call__(self, x: Floats, team: Team) -> Floats:
        """`[T, Cin]` → `[factor·T, Cout]`, in the caller's frame of the arena."""
        rows = len(x) + 1
        y = team.arena.take(rows, self.factor * self.outputs)
        parts, size = cut(rows, self.ROWS, unit=FEW, members=team.size)
        with team.arena.frame():
            sources = [team.arena.take(size + 1, x.shape[1]) for _ in range(team.size)]

            def work(part: int, member: int) -> None:
                first, last = part * size, min((part + 1) * size, rows)
                source = sources[member]
                bend(x, np.float32(0.2), first - 1, last, source)
                spread(source, self._weights, self._bias, first, last, y)

            team.share(parts, work)
        return y.reshape(-1, self.outputs)[self._padding :][: self.factor * len(x)]


class Mouth:
    """Leaky ReLU, a convolution of 7 onto one channel with reflection at the ends, tanh."""

    ROWS = 8192

    def __init__(self, layer: nn.Conv1d) -> None:
        assert layer.bias is not None
        self._weights = np.ascontiguousarray(layer.weight[0].T.numpy())
        self._bias = float(layer.bias[0])

    def __call__(self, x: Floats, team: Team) -> Tensor:
        """`[T, C]` → `[T]`."""
        shares = team.arena.take(len(x), len(self._weights))

        def work(index: int, _: int) -> None:
            first, last = index * self.ROWS, min((index + 1) * self.ROWS, len(x))
            project(x, self._weights, np.float32(0.2), first, last, shares)

        team.share(-(-len(x) // self.ROWS), work)
        reach = len(self._weights) // 2
        shares = np.pad(shares, ((reach, reach), (0, 0)), mode="reflect")
        total = sum(shares[tap : tap + len(x), tap] for tap in range(len(self._weights)))
        return torch.from_numpy(total + np.float32(self._bias)).tanh()


class Vocoder:
    """The whole network."""

    def __init__(self, network: TFGAN, team: Team) -> None:
        steps: Any = network.generator
        self._team = team
        self._enter = nn.Sequential(network.condnet, *steps[:2])
        self._spreaders = [Spreader(steps[3 + 3 * stage], team) for stage in range(len(FACTORS))]
        self._stacks = [Stack(steps[4 + 3 * stage], team) for stage in range(len(FACTORS))]
        self._mouth = Mouth(steps[16])

    def __call__(self, condition: Tensor, wanted: Range) -> Tensor:
        """See `interface.VocoderRunner`."""
        return torch.stack([self._run(item[None], wanted) for item in condition])

    def _run(self, condition: Tensor, wanted: Range) -> Tensor:
        frames = condition.shape[2]
        plan = plan_ranges(frames, wanted)
        entered = self._enter(condition[:, :, plan.frames[0] : plan.frames[1]])
        with self._team.arena.frame():
            x = self._team.arena.take(entered.shape[2], entered.shape[1])
            x[...] = entered[0].T.numpy()
            x, at = self._climb(x, plan.frames[0], plan, (0, 1))
            tiles = [self._finish(x, at, tile, plan_ranges(frames, tile)) for tile in _tiles(wanted)]
        return torch.cat(tiles)

    def _finish(self, x: Floats, at: int, wanted: Range, plan: Plan) -> Tensor:
        """The last two stages and the samples, from rows that begin at `at`."""
        with self._team.arena.frame():
            x, at = self._climb(x, at, plan, (2, 3))
            samples = self._mouth(x[plan.last[0] - at : plan.last[1] - at], self._team)
        return samples[wanted[0] - plan.last[0] : wanted[1] - plan.last[0]]

    def _climb(self, x: Floats, at: int, plan: Plan, stages: tuple[int, ...]) -> tuple[Floats, int]:
        """Upsampler and stack of each stage, as far as the plan needs; rows `[T, C]` and where they begin."""
        for stage in stages:
            enter, leave = plan.enter[stage], plan.leave[stage]
            x = self._spreaders[stage](x[enter[0] - at : enter[1] - at], self._team)
            at = enter[0] * FACTORS[stage]
            x, at = x[leave[0] - at : leave[1] - at], leave[0]
            self._stacks[stage](x, self._team)
        return x, at


def _transformed(weight: Floats, team: Team) -> Floats:
    """Filters `[Cout, Cin, 3]` → `[panels, 6, Cin, PANEL]`."""
    count = panels(len(weight))
    filters = team.shelf.take(count, PRODUCTS, weight.shape[1], PANEL)
    turn = filter_transform().astype(np.float32)
    team.prepare(count, lambda panel: transform_filters(weight, turn, panel, panel + 1, filters))
    return filters


def _tiles(wanted: Range) -> Iterator[Range]:
    """Cut a range into nearly equal ones of at most `TILE`."""
    total = wanted[1] - wanted[0]
    count = max(1, -(-total // TILE))
    for number in range(count):
        yield wanted[0] + total * number // count, wanted[0] + total * (number + 1) // count
