"""The networks as PyTorch runs them, in fp32: the reference that every backend is held to."""

from collections.abc import Mapping

import torch

from worker.models.interface import Precision, RestorerRunner, VocoderRunner
from worker.models.networks import RestorerNetwork
from worker.models.tfgan import TFGAN


class PlainBackend:
    """PyTorch, one operation after the other, on any device."""

    name = "torch"
    precision: Precision = "fp32"

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)

    def run_restorer(self, network: RestorerNetwork, weights: Mapping[str, str]) -> RestorerRunner:  # noqa: ARG002
        """Give the network itself."""
        return network

    def run_vocoder(self, network: TFGAN, weights: Mapping[str, str]) -> VocoderRunner:  # noqa: ARG002
        """Give the network itself."""
        return network
