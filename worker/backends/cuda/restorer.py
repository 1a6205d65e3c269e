"""The restorer's networks on a CUDA device."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.backends.cuda.graphs import Graphs
from worker.models.constants import GRID
from worker.models.denoiser import to_log
from worker.models.networks import RestorerNetwork


class CudaRestorer:
    """`RestorerRunner`: the denoiser in fp32 tensors, the UNet in channels_last and one dtype.

    The denoiser is 1 % of the arithmetic, and its mask multiplies the result: less precision would save nothing
    there, for its time is that of the recurrence's steps.
    """

    def __init__(self, network: RestorerNetwork, *, dtype: torch.dtype, graphs: Graphs) -> None:
        self._dtype, self._graphs = dtype, graphs
        self._network = network
        for module in network.denoiser.modules():
            if isinstance(module, nn.GRU):
                module.flatten_parameters()  # one block, as cuDNN wants it; else it copies them in every pass
        _convert(network.unet, dtype)

    @torch.inference_mode()
    def denoise(self, mel: Tensor) -> Tensor:
        """Linear mel `[B, 1, T, 128]` → masked linear mel."""
        return self._network.denoise(mel)

    @torch.inference_mode()
    def refine(self, mel: Tensor, clean: Tensor) -> Tensor:
        """Noisy and masked linear mel `[B, 1, T, 128]` → what is to be added to the log10 of the latter."""
        frames = mel.shape[2]
        logs = torch.cat((to_log(mel), to_log(clean)), dim=1)
        # Filled here as the UNet would do it, so that windows of nearly one length have one shape.
        residual = self._graphs.run("refine", self._run, functional.pad(logs, (0, 0, 0, -frames % GRID)))
        return residual[:, :, :frames]

    def _run(self, logs: Tensor) -> Tensor:
        given = logs.to(self._dtype).contiguous(memory_format=torch.channels_last)
        residual: Tensor = self._network.unet(given)
        return residual.float()


def _convert(unet: nn.Module, dtype: torch.dtype) -> None:
    """Weights to channels_last and the dtype; batch norms keep their fp32 parameters."""
    for module in unet.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
