"""The networks by kernels that are compiled on this machine, for its CPU."""

import torch

from worker.backends.numba.cpu.team import Team
from worker.models.constants import GRID, HOP, N_MELS
from worker.models.errors import PrecisionUnavailableError
from worker.models.interface import Hashes, Precision, RestorerRunner, VocoderRunner
from worker.models.networks import RestorerNetwork
from worker.models.tfgan import TFGAN


class NumbaBackend:
    """Winograd convolutions on all threads that PyTorch would use; equal to it but for the last bits.

    What it needs is imported when there is a network to run: a worker of weight-free models does without.
    """

    name = "numba"

    def __init__(self, *, precision: Precision = "fp32") -> None:
        """Raises `PrecisionUnavailableError` for anything but fp32."""
        if precision != "fp32":
            raise PrecisionUnavailableError(
                f"VFQ_BACKEND=numba computes in fp32 alone, not in {precision}: take VFQ_BACKEND=openvino or auto."
            )
        self.precision: Precision = precision
        self.device = torch.device("cpu")
        self._team = Team()

    def run_restorer(self, network: RestorerNetwork, hashes: Hashes) -> RestorerRunner:  # noqa: ARG002
        """Fold and pack the network, and compile what was not compiled before."""
        from worker.backends.numba.restorer import Restorer

        runner = Restorer(network, self._team)
        self._team.finish()
        mel = torch.zeros(1, 1, GRID, N_MELS)
        with torch.inference_mode():
            runner.refine(mel, runner.denoise(mel))
        return runner

    def run_vocoder(self, network: TFGAN, hashes: Hashes) -> VocoderRunner:  # noqa: ARG002
        """Pack the network, and compile what was not compiled before."""
        from worker.backends.numba.vocoder import Vocoder

        runner = Vocoder(network, self._team)
        self._team.finish()
        with torch.inference_mode():
            runner(torch.zeros(1, N_MELS, 8), (0, HOP))
        return runner
