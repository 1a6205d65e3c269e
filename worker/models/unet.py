"""The second half of the restorer: a residual UNet over log mels, six levels deep in time and in frequency."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.models.constants import GRID

LEVELS = (32, 64, 128, 256, 384, 384)
"""Channels of the six encoders; the decoders take them in reverse."""


class ResidualBlock(nn.Module):
    """Twice batch norm → leaky ReLU → 3×3 convolution, around an identity or a 1×1 shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bn1: nn.Module = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        if inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, T, F]` → `[B, outputs, T, F]`."""
        y: Tensor = self.conv1(functional.leaky_relu(self.bn1(x), 0.01))
        y = self.conv2(functional.leaky_relu(self.bn2(y), 0.01))
        return y.add_(self.shortcut(x) if hasattr(self, "shortcut") else x)


class Encoder(nn.Module):
    """Four residual blocks; what they give goes to the decoder of its level, and halved to the next encoder."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv_block1 = ResidualBlock(inputs, outputs)
        self.conv_block2 = ResidualBlock(outputs, outputs)
        self.conv_block3 = ResidualBlock(outputs, outputs)
        self.conv_block4 = ResidualBlock(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, T, F]` → `[B, outputs, T, F]`."""
        y: Tensor = self.conv_block4(self.conv_block3(self.conv_block2(self.conv_block1(x))))
        return y


class Decoder(nn.Module):
    """Doubles time and frequency, joins the encoder of its level, then four residual blocks."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, bias=False)
        self.conv_block2 = ResidualBlock(2 * outputs, outputs)
        self.conv_block3 = ResidualBlock(outputs, outputs)
        self.conv_block4 = ResidualBlock(outputs, outputs)
        self.conv_block5 = ResidualBlock(outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """`[B, inputs, T, F]` and `[B, outputs, 2T, 2F+1]` → `[B, outputs, 2T, 2F+1]`."""
        up: Tensor = self.conv1(functional.relu(self.bn1(x)))
        joined: Tensor = self.conv_block2(torch.cat((up[:, :, :-1], skip), dim=1))
        return cast(Tensor, self.conv_block5(self.conv_block4(self.conv_block3(joined))))


class UNet(nn.Module):
    """Log mels of the noisy and of the masked signal → what to add to the latter."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (2, *LEVELS)
        for level in range(6):
            setattr(self, f"encoder_block{level + 1}", Encoder(sizes[level], sizes[level + 1]))
        self.conv_block7 = ResidualBlock(LEVELS[-1], LEVELS[-1])
        wide = (LEVELS[-1], *reversed(LEVELS))
        for level in range(6):
            setattr(self, f"decoder_block{level + 1}", Decoder(wide[level], wide[level + 1]))
        self.after_conv_block1 = ResidualBlock(LEVELS[0], LEVELS[0])
        self.after_conv2 = nn.Conv2d(LEVELS[0], 1, 1)

    def forward(self, logs: Tensor) -> Tensor:
        """`[B, 2, T, 128]` → `[B, 1, T, 128]`.

        Time is filled with zeros (log10 of 1) up to the grid, and the last mel bin is left out (127 halves
        evenly: 127, 63, 31, 15, 7, 3, 1) and comes back as 0.
        """
        frames = logs.shape[2]
        x = functional.pad(logs, (0, -1, 0, -frames % GRID))
        skips = []
        for level in range(1, 7):
            x = self.get_submodule(f"encoder_block{level}")(x)
            skips.append(x)
            x = functional.avg_pool2d(x, 2)
        x = self.conv_block7(x)
        for level in range(1, 7):
            x = self.get_submodule(f"decoder_block{level}")(x, skips.pop())
        x = self.after_conv2(self.after_conv_block1(x))
        return functional.pad(x, (0, 1))[:, :, :frames]
