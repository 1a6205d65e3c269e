"""The restorer's networks on OpenVINO: the denoiser in one go, the UNet level by level."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worker.backends.openvino.parts import DECODERS, DENOISER, ENCODERS, INNER
from worker.backends.openvino.running import Array, PartRunner, Stretch
from worker.models.constants import GRID
from worker.models.denoiser import to_log


class OpenVINORestorer:
    """See `interface.RestorerRunner`. The items of a batch run one by one: a window keeps all cores busy."""

    def __init__(self, parts: Mapping[str, PartRunner]) -> None:
        self._parts = parts

    def denoise(self, mel: Tensor) -> Tensor:
        """Linear mel `[B, 1, T, 128]` → masked linear mel."""
        frames = mel.shape[2]
        masks = [self._parts[DENOISER.name]([Stretch(item.numpy())], (0, frames), frames)[0] for item in mel]
        return torch.from_numpy(np.stack(masks)).mul_(mel)

    def refine(self, mel: Tensor, clean: Tensor) -> Tensor:
        """Noisy and masked linear mel `[B, 1, T, 128]` → what is to be added to the log10 of the latter."""
        frames = mel.shape[2]
        logs = torch.cat((to_log(mel), to_log(clean)), dim=1)
        # The network's own padding: zeros up to the grid, and the last mel bin left out.
        padded = functional.pad(logs, (0, -1, 0, -frames % GRID))
        residuals = torch.from_numpy(np.stack([self._unet(item.numpy()) for item in padded]))
        return functional.pad(residuals, (0, 1))[:, :, :frames]

    def _unet(self, x: Array) -> Array:
        """`[2, T, 127]`, T on the grid → `[1, T, 127]`."""
        skips = []
        for part in ENCODERS:
            units = x.shape[1] // 2
            skip, x = self._parts[part.name]([Stretch(x)], (0, units), units)
            skips.append(skip)
        (x,) = self._parts[INNER.name]([Stretch(x)], (0, x.shape[1]), x.shape[1])
        for part in reversed(DECODERS):
            units = x.shape[1]
            (x,) = self._parts[part.name]([Stretch(x), Stretch(skips.pop())], (0, units), units)
        return x
