"""The networks as PyTorch runs them, in fp32: the reference that every backend is held to."""

import torch

from worker.models.interface import Hashes, Precision, RestorerRunner, VocoderRunner
from worker.models.networks import RestorerNetwork, folded
from worker.models.tfgan import TFGAN


class PlainBackend:
    """PyTorch, one operation after the other, on any device."""

    name = "torch"
    precision: Precision = "fp32"

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)

    def run_restorer(self, network: RestorerNetwork, hashes: Hashes) -> RestorerRunner:  # noqa: ARG002
        """Fold the network."""
        return folded(network, self.device)

    def run_vocoder(self, network: TFGAN, hashes: Hashes) -> VocoderRunner:  # noqa: ARG002
        """Give the network itself."""
        return network
