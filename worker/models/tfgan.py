"""The network of VoiceFixer's synthesis module: normalised mel → samples, 441 a frame (TFGAN, arXiv:2011.12206).

The network reaches 576 frames to either side, most of it in the first residual stack, where a frame is but seven
values. So each stage is computed only as far as the later ones need it for the samples that are wanted.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from worker.models.constants import N_MELS

FACTORS = (7, 7, 3, 3)
CHANNELS = (1024, 512, 256, 128, 64)
DEPTH = 8
STACK_REACH = sum(3**i + 1 for i in range(DEPTH))
"""Values to either side that a residual stack looks at."""
CONDITION_REACH = 5 + 3
"""Frames to either side that the five condition layers and the first wide convolution look at."""

Range = tuple[int, int]


class ResidualStack(nn.Module):
    """Eight residual pairs of convolutions, dilated by 1, 3, 9, … 2187 and then by 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.LeakyReLU(0.01),
                nn.Conv1d(channels, channels, 3, dilation=3**i, padding=3**i),
                nn.LeakyReLU(0.01, inplace=True),
                nn.Conv1d(channels, channels, 3, padding=1),
            )
            for i in range(DEPTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, t]` → the same shape."""
        for layer in self.layers:
            x = layer(x).add_(x)
        return x


class Upsampler(nn.Module):
    """x + sin(x), then a transposed convolution that gives exactly `factor` values for each."""

    def __init__(self, inputs: int, outputs: int, factor: int) -> None:
        super().__init__()
        self.layer = nn.ConvTranspose1d(
            inputs,
            outputs,
            2 * factor,
            stride=factor,
            padding=factor // 2 + factor % 2,
            output_padding=factor % 2,
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, t]` → `[B, outputs, factor·t]`."""
        y: Tensor = self.layer(x + torch.sin(x))
        return y


@dataclass(frozen=True)
class Plan:
    """The ranges to compute for some wanted samples, each counted in the values of its own level."""

    frames: Range
    enter: tuple[Range, ...]
    """What each upsampler takes."""
    leave: tuple[Range, ...]
    """What each residual stack takes."""
    last: Range
    """What the last convolution takes."""


class TFGAN(nn.Module):
    """The network with its weight norms folded and without the branches whose output nobody uses."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (N_MELS, *(CHANNELS[1],) * 5)
        condition: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            condition += [nn.Conv1d(inputs, outputs, 3, padding=1), nn.ELU()]
        self.condnet = nn.Sequential(*condition)
        steps: list[nn.Module] = [nn.ReflectionPad1d(3), nn.Conv1d(CHANNELS[1], CHANNELS[0], 7)]
        for (inputs, outputs), factor in zip(pairwise(CHANNELS), FACTORS, strict=True):
            steps += [nn.LeakyReLU(0.2), Upsampler(inputs, outputs, factor), ResidualStack(outputs)]
        steps += [nn.LeakyReLU(0.2), nn.ReflectionPad1d(3), nn.Conv1d(CHANNELS[-1], 1, 7), nn.Tanh()]
        self.generator = nn.Sequential(*steps)

    def forward(self, condition: Tensor, wanted: Range) -> Tensor:
        """Normalised mel `[B, 128, L]` → the wanted ones of its 441·L samples, `[B, stop − start]`."""
        plan = plan_ranges(condition.shape[2], wanted)
        x = self.generator[:2](self.condnet(crop(condition, 0, plan.frames)))
        at = plan.frames[0]
        for stage, factor in enumerate(FACTORS):
            first = 2 + 3 * stage
            x = self.generator[first : first + 2](crop(x, at, plan.enter[stage]))
            at = plan.enter[stage][0] * factor
            x = self.generator[first + 2](crop(x, at, plan.leave[stage]))
            at = plan.leave[stage][0]
        x = self.generator[14:](crop(x, at, plan.last))
        return crop(x, plan.last[0], wanted).squeeze(1)


def plan_ranges(frames: int, wanted: Range) -> Plan:
    """Walk from the wanted samples back to the frames, widening by each layer's reach, never past the data."""
    lengths = [frames]
    for factor in FACTORS:
        lengths.append(lengths[-1] * factor)
    last = widen(wanted, 3, lengths[-1])
    enter, leave, need = [], [], last
    for stage in reversed(range(len(FACTORS))):
        need = widen(need, STACK_REACH, lengths[stage + 1])
        leave.append(need)
        need = upsampler_input(need, FACTORS[stage], lengths[stage])
        enter.append(need)
    return Plan(widen(need, CONDITION_REACH, frames), tuple(reversed(enter)), tuple(reversed(leave)), last)


def upsampler_input(need: Range, factor: int, length: int) -> Range:
    """The values that a transposed convolution (kernel 2u, stride u) makes the needed ones of."""
    padding = factor // 2 + factor % 2
    start = -((2 * factor - 1 - padding - need[0]) // factor)
    return max(start, 0), min((need[1] - 1 + padding) // factor + 1, length)


def widen(span: Range, reach: int, length: int) -> Range:
    """The range and its reach, within 0 … length."""
    return max(span[0] - reach, 0), min(span[1] + reach, length)


def crop(x: Tensor, at: int, span: Range) -> Tensor:
    """The range of `x` whose first value stands at `at`."""
    return x[..., span[0] - at : span[1] - at]
