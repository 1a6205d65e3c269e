"""The first half of the restorer: a mask on the linear mel, from two blocks of bidirectional GRUs."""

import torch
from torch import Tensor, nn

from worker.models.constants import N_MELS

WIDE = 4 * N_MELS


class NormedGRU(nn.Module):
    """One scalar batch norm, then a two-layer bidirectional GRU, 512 → 2 × 256."""

    def __init__(self) -> None:
        super().__init__()
        self.bn: nn.Module = nn.BatchNorm2d(1)
        self.gru = nn.GRU(WIDE, WIDE // 2, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, 1, T, 512]` → the same shape."""
        output: Tensor = self.gru(self.bn(x).squeeze(1))[0]
        return output.unsqueeze(1)


def build_denoiser() -> nn.Sequential:
    """Linear mel `[B, 1, T, 128]` → mask of the same shape, 0 to 1. The order gives the checkpoint's keys."""
    return nn.Sequential(
        nn.BatchNorm2d(1),
        nn.Linear(N_MELS, 2 * N_MELS),
        nn.ReLU(),
        nn.BatchNorm2d(1),
        nn.Linear(2 * N_MELS, WIDE),
        nn.Dropout(0.5),
        nn.ReLU(),
        NormedGRU(),
        NormedGRU(),
        nn.BatchNorm2d(1),
        nn.ReLU(),
        nn.Linear(WIDE, WIDE),
        nn.Dropout(0.5),
        nn.BatchNorm2d(1),
        nn.ReLU(),
        nn.Linear(WIDE, N_MELS),
        nn.Sigmoid(),
    )


def to_log(mel: Tensor) -> Tensor:
    """Linear → log10, floored at 1e-8."""
    return torch.log10(mel.clamp_min(1e-8))


def from_log(log_mel: Tensor) -> Tensor:
    """Log10 → linear, capped at 1e5."""
    return torch.pow(10.0, log_mel.clamp_max(5.0))
