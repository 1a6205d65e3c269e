"""The networks by kernels that are compiled on this machine, for its CPU."""

from collections.abc import Mapping

import torch

from worker.backends.numba.blas import keep_to_one_thread
from worker.backends.numba.team import Team
from worker.backends.numba.vocoder import Vocoder
from worker.models.interface import Precision, RestorerRunner, VocoderRunner
from worker.models.networks import RestorerNetwork
from worker.models.tfgan import TFGAN


class NumbaBackend:
    """Winograd convolutions on all threads that PyTorch would use; equal to it but for the last bits."""

    name = "numba"
    precision: Precision = "fp32"

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        threads = torch.get_num_threads()
        keep_to_one_thread()
        self._team = Team(threads)
        torch.set_num_threads(
            threads
        )  # the team's threads set theirs, and some of PyTorch's libraries have one setting

    def run_restorer(self, network: RestorerNetwork, weights: Mapping[str, str]) -> RestorerRunner:  # noqa: ARG002
        """Prepare the folded network."""
        return network

    def run_vocoder(self, network: TFGAN, weights: Mapping[str, str]) -> VocoderRunner:  # noqa: ARG002
        """Prepare the folded network."""
        return Vocoder(network, self._team)
