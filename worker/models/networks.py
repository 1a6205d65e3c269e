"""The restorer's network: denoiser, then UNet, under the checkpoint's names; and its folded twin."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from worker.models.denoiser import build_denoiser, from_log, to_log
from worker.models.folding import fold_denoiser, fold_unet, own_tensors, with_tensors
from worker.models.unet import UNet


class RestorerNetwork(nn.Module):
    """Denoiser and UNet, with the checkpoint's names below `generator.`."""

    def __init__(self) -> None:
        super().__init__()
        self.denoiser = build_denoiser()
        self.unet = UNet()

    def denoise(self, mel: Tensor) -> Tensor:
        """Linear mel `[B, 1, T, 128]` → masked linear mel."""
        mask: Tensor = self.denoiser(mel)
        return mask * mel

    def refine(self, mel: Tensor, clean: Tensor) -> Tensor:
        """Noisy and masked linear mel → what the UNet adds to the log10 of the latter."""
        residual: Tensor = self.unet(torch.cat((to_log(mel), to_log(clean)), dim=1))
        return residual

    def forward(self, mel: Tensor) -> Tensor:
        """Linear mel `[B, 1, T, 128]` → restored linear mel of the same shape."""
        clean = self.denoise(mel)
        return from_log(self.refine(mel, clean) + to_log(clean))


def blank_network() -> RestorerNetwork:
    """A network without storage, for tensors to be assigned to."""
    with torch.device("meta"):
        return RestorerNetwork()


def trained(tensors: Mapping[str, Tensor]) -> RestorerNetwork:
    """The network of these very tensors."""
    return with_tensors(blank_network(), tensors)


def folded(network: RestorerNetwork, device: torch.device) -> RestorerNetwork:
    """Bring a network, as it was trained, to the device and to fewer steps; it keeps none of the tensors it had."""
    foreign = network.state_dict()
    fold_denoiser(network.denoiser)
    fold_unet(network.unet)
    return own_tensors(network, device, foreign=foreign)
