"""The restorer's two networks."""

import torch
from torch import Tensor

from worker.backends.numba.cpu.team import Team
from worker.backends.numba.denoiser import quick_denoiser
from worker.backends.numba.unet import QuickUNet
from worker.models.denoiser import to_log
from worker.models.folding import fold_denoiser, own_tensors
from worker.models.networks import RestorerNetwork


class Restorer:
    """See `interface.RestorerRunner`."""

    def __init__(self, network: RestorerNetwork, team: Team) -> None:
        mapped = network.denoiser.state_dict()
        fold_denoiser(network.denoiser)
        denoiser = own_tensors(network.denoiser, torch.device("cpu"), foreign=mapped)
        self._denoiser = quick_denoiser(denoiser, team)
        self._unet = QuickUNet(network.unet, team)

    def denoise(self, mel: Tensor) -> Tensor:
        """Linear mel `[B, 1, T, 128]` → masked linear mel."""
        mask: Tensor = self._denoiser(mel)
        return mask * mel

    def refine(self, mel: Tensor, clean: Tensor) -> Tensor:
        """Noisy and masked linear mel → what is to be added to the log10 of the latter."""
        return self._unet(torch.cat((to_log(mel), to_log(clean)), dim=1))
