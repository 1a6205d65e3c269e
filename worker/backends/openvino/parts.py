"""The networks, cut into the parts that are converted one by one, each of which runs tile by tile.

A part counts time in units: values of its coarsest input or output. Its `reach` is how many units lie, at most,
between a value that it gives and the furthest that it looks at.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.models.networks import RestorerNetwork
from worker.models.tfgan import CHANNELS, CONDITION_REACH, FACTORS, STACK_REACH, TFGAN, Upsampler
from worker.models.unet import LEVELS, UNet

OUTER = 3
"""Levels of the UNet that run in tiles; those within are small."""
BANDS = (127, 63, 31, 15)
"""Mel bins at the UNet's levels, from the outermost."""
WHOLE = 1 << 40
"""More units than any window has: such a part runs in one tile."""


@dataclass(frozen=True)
class Input:
    """Channels, values a unit of time, and mel bins where they are an axis of their own."""

    channels: int
    factor: int = 1
    bands: int | None = None


@dataclass(frozen=True)
class Part:
    """One converted network: `gives` are the values a unit of time of each output, `largest` the units of a tile."""

    name: str
    takes: tuple[Input, ...]
    gives: tuple[int, ...] = (1,)
    reach: int = 0
    largest: int = WHOLE


def _encoder(level: int) -> Part:
    """Eight convolutions look eight rows far: four units of two rows; the rows are given, and their halves."""
    rows = Input((2, *LEVELS)[level], factor=2, bands=BANDS[level])
    return Part(f"encoder{level}", (rows,), gives=(2, 1), reach=4, largest=256)


def _decoder(level: int) -> Part:
    """Eight convolutions, two more in the outermost, and a row that the doubling looks back to: 11 rows at most."""
    halves = Input(LEVELS[level + 1], bands=BANDS[level + 1])
    rows = Input(LEVELS[level], factor=2, bands=BANDS[level])
    return Part(f"decoder{level}", (halves, rows), gives=(2,), reach=6, largest=256)


def _stage(stage: int) -> Part:
    """A stack, rounded up to whole units, what the upsampler looks at, and the layers at either end."""
    reach = -(-(STACK_REACH + 3) // FACTORS[stage]) + 2 + (CONDITION_REACH if stage == 0 else 0)
    return Part(
        f"stage{stage}",
        (Input(128 if stage == 0 else CHANNELS[stage]),),
        gives=(FACTORS[stage],),
        reach=reach,
        largest=STAGE_UNITS[stage],
    )


STAGE_UNITS = (WHOLE, WHOLE, 32_768, 32_768)
"""What a stage's tiles are at most; larger ones cost memory, smaller ones compute more of their neighbours."""
DENOISER = Part("denoiser", (Input(1, bands=128),))
ENCODERS = tuple(_encoder(level) for level in range(OUTER))
INNER = Part("inner", (Input(LEVELS[OUTER - 1], bands=BANDS[OUTER]),))
DECODERS = tuple(_decoder(level) for level in range(OUTER))
STAGES = tuple(_stage(stage) for stage in range(len(FACTORS)))


class Down(nn.Module):
    """An encoder of the UNet, with the halving after it."""

    def __init__(self, unet: UNet, level: int) -> None:
        super().__init__()
        self.block = unet.get_submodule(f"encoder_block{level + 1}")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`[B, inputs, 2t, F]` → `[B, outputs, 2t, F]` and `[B, outputs, t, F // 2]`."""
        y: Tensor = self.block(x)
        return y, functional.avg_pool2d(y, 2)


class Inside(nn.Module):
    """The UNet between its tiled levels."""

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(unet.get_submodule(f"encoder_block{level}") for level in range(OUTER + 1, 7))
        self.middle = unet.conv_block7
        self.decoders = nn.ModuleList(unet.get_submodule(f"decoder_block{level}") for level in range(1, 7 - OUTER))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, 128, 8t, 15]` → `[B, 256, 8t, 15]`."""
        skips = []
        for encoder in self.encoders:
            x = encoder(x)
            skips.append(x)
            x = functional.avg_pool2d(x, 2)
        x = self.middle(x)
        for decoder in self.decoders:
            x = decoder(x, skips.pop())
        return x


class Up(nn.Module):
    """A decoder of the UNet; the outermost with all that follows it."""

    def __init__(self, unet: UNet, level: int) -> None:
        super().__init__()
        self.block = unet.get_submodule(f"decoder_block{6 - level}")
        self.after = nn.Sequential(unet.after_conv_block1, unet.after_conv2) if level == 0 else nn.Identity()

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """`[B, 2·inputs, t, F // 2]` and `[B, inputs, 2t, F]` → `[B, inputs or 1, 2t, F]`."""
        y: Tensor = self.after(self.block(x, skip))
        return y


class PhasedUpsampler(nn.Module):
    """A transposed convolution (kernel 2u, stride u) as a convolution of two values that gives u at once.

    Value u·q + p − padding is x[q − 1]·W[p + u] + x[q]·W[p]. OpenVINO convolves several times as fast as it
    convolves transposed.
    """

    def __init__(self, upsampler: Upsampler) -> None:
        super().__init__()
        layer = upsampler.layer
        self.factor, self.padding = layer.stride[0], int(layer.padding[0])
        self.outputs = layer.out_channels
        older, newer = layer.weight[:, :, self.factor :], layer.weight[:, :, : self.factor]
        kernel = torch.stack((older, newer), dim=-1).permute(1, 2, 0, 3).flatten(0, 1)
        assert layer.bias is not None
        self.register_buffer("kernel", kernel.contiguous())
        self.register_buffer("bias", layer.bias.repeat_interleave(self.factor))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, t]` → `[B, outputs, u·t]`."""
        x = x + torch.sin(x)
        phases = functional.conv1d(x, self.get_buffer("kernel"), self.get_buffer("bias"), padding=1)
        items, _, count = phases.shape
        values = phases.reshape(items, self.outputs, self.factor, count).transpose(2, 3).flatten(2)
        wanted: Tensor = values[:, :, self.padding : self.padding + self.factor * x.shape[2]]
        return wanted


def restorer_parts(network: RestorerNetwork) -> list[tuple[Part, nn.Module]]:
    """The denoiser and the UNet, with what each part is converted from."""
    unet = network.unet
    parts: list[tuple[Part, nn.Module]] = [(DENOISER, network.denoiser), (INNER, Inside(unet))]
    parts += [(ENCODERS[level], Down(unet, level)) for level in range(OUTER)]
    parts += [(DECODERS[level], Up(unet, level)) for level in range(OUTER)]
    return parts


def vocoder_parts(network: TFGAN) -> list[tuple[Part, nn.Module]]:
    """The four stages; the first with the condition layers, the last with what follows it."""
    steps = network.generator
    parts: list[tuple[Part, nn.Module]] = []
    for stage, part in enumerate(STAGES):
        at = 2 + 3 * stage
        upsampler = steps[at + 1]
        assert isinstance(upsampler, Upsampler)
        layers: list[nn.Module] = [steps[at], PhasedUpsampler(upsampler), steps[at + 2]]
        if stage == 0:
            layers = [network.condnet, steps[0], steps[1], *layers]
        if stage == len(STAGES) - 1:
            layers.append(steps[14:])
        parts.append((part, nn.Sequential(*layers)))
    return parts
