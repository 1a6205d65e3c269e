"""One-dimensional convolutions as cuDNN likes them: two-dimensional, channels last, in the precision asked for.

A signal is `[B, C, 1, T]` in channels_last, which in memory is `[B, T, C]`: each value's channels lie together, as
matrix units want them, and a crop in time needs no copy.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Convolution:
    """Weight `[O, I, 1, k]` in channels_last and bias `[O]`, both of the dtype of the signals."""

    weight: Tensor
    bias: Tensor | None
    padding: int = 0
    dilation: int = 1

    def __call__(self, x: Tensor) -> Tensor:
        """`[B, I, 1, t]` → `[B, O, 1, t']`."""
        return functional.conv2d(x, self.weight, self.bias, padding=(0, self.padding), dilation=(1, self.dilation))


def convolution(layer: nn.Module, dtype: torch.dtype) -> Convolution:
    """Convert an `nn.Conv1d`."""
    assert isinstance(layer, nn.Conv1d)
    assert layer.bias is not None
    padding = layer.padding[0]
    assert isinstance(padding, int)
    return Convolution(_wide(layer.weight, dtype), layer.bias.detach().to(dtype), padding, layer.dilation[0])


@dataclass(frozen=True)
class Upsampling:
    """A transposed convolution of kernel 2u and stride u as a plain one of two taps that gives u values at once.

    With m = n + padding = u·q + r, the output at n is Wᵣ·x[q] + Wᵣ₊ᵤ·x[q−1]: both phases of the kernel at r, so all
    u outputs of q come of the same two inputs and lie together in memory.
    """

    taps: Convolution
    factor: int
    padding: int

    def __call__(self, x: Tensor) -> Tensor:
        """`[B, I, 1, t]` → `[B, O, 1, u·t]`."""
        items, _, _, values = x.shape
        rows = self.taps(x).permute(0, 2, 3, 1)  # [B, 1, t + 1, u·O]: in memory already u·(t + 1) rows of O
        rows = rows.reshape(items, 1, self.factor * (values + 1), -1)
        return rows[:, :, self.padding : self.padding + self.factor * values].permute(0, 3, 1, 2)


def upsampling(layer: nn.ConvTranspose1d, dtype: torch.dtype) -> Upsampling:
    """Convert a transposed convolution whose kernel is twice its stride."""
    factor, padding = layer.stride[0], layer.padding[0]
    assert isinstance(padding, int)
    inputs, outputs, taps = layer.weight.shape
    assert taps == 2 * factor
    assert layer.bias is not None
    # [I, O, 2u] → [u·O, I, 1, 2], the earlier value's tap first.
    phases = layer.weight.detach().reshape(inputs, outputs, 2, factor).flip(2)
    weight = phases.permute(3, 1, 0, 2).reshape(factor * outputs, inputs, 2)
    bias = layer.bias.detach().to(dtype).repeat(factor)
    return Upsampling(Convolution(_wide(weight, dtype), bias, padding=1), factor, padding)


def reflect(x: Tensor, width: int) -> Tensor:
    """`[B, C, 1, t]` → `[B, C, 1, t + 2·width]`, mirrored at both ends, in channels_last."""
    left, right = x[..., 1 : width + 1].flip(3), x[..., -width - 1 : -1].flip(3)
    return torch.cat((left, x, right), dim=3).contiguous(memory_format=torch.channels_last)


def as_signal(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`[B, C, t]` of any layout → `[B, C, 1, t]` in channels_last."""
    return x.unsqueeze(2).to(dtype).contiguous(memory_format=torch.channels_last)


def _wide(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return as_signal(weight.detach(), dtype)
