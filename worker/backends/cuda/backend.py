"""The backend: what runs in which precision, and what is made ready before work is taken."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from weakref import WeakSet

import torch

from worker.backends.cuda.graphs import CudaRecorder, Graphs
from worker.backends.cuda.restorer import CudaRestorer
from worker.backends.cuda.stacks import fastest_stack, plain_stack
from worker.backends.cuda.vocoder import CudaVocoder
from worker.models.interface import Hashes, Precision
from worker.models.networks import RestorerNetwork, folded
from worker.models.tfgan import TFGAN

DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
_strict: "WeakSet[CudaBackend]" = WeakSet()
"""The living backends of fp32."""


class CudaBackend:
    """PyTorch on one CUDA device. On a CPU, for tests, it does the same without graphs.

    `fp32` is strict; `tf32` lets the matrix units round what they multiply to 10 bits of mantissa; `bf16` and `fp16`
    hold the activations of UNet and vocoder in 16 bits. Logarithms, the mask, the batch norms' parameters, every sum
    within a convolution and the final tanh are fp32 in all of them. Torch's switch between fp32 and TF32 is the
    process's own: while there is a strict backend it is off, so no backend of tf32 belongs beside it.
    """

    name = "cuda"

    def __init__(self, device: torch.device | str = "cuda", precision: Precision = "fp32") -> None:
        self.device = torch.device(device)
        self.precision = precision
        self._graphs: list[Graphs] = []
        torch.backends.cuda.matmul.allow_tf32 = False
        # By default cuDNN convolves in TF32, and fp32 is to be what it says.
        if precision == "fp32":
            _strict.add(self)
        torch.backends.cudnn.allow_tf32 = precision != "fp32" and not any(one.device.type == "cuda" for one in _strict)

    def run_restorer(self, network: RestorerNetwork, hashes: Hashes) -> CudaRestorer:  # noqa: ARG002
        """Fold a network, and lay it out for the device."""
        return CudaRestorer(folded(network, self.device), dtype=DTYPES[self.precision], graphs=self._new_graphs())

    def run_vocoder(self, network: TFGAN, hashes: Hashes) -> CudaVocoder:  # noqa: ARG002
        """Take over a folded network."""
        dtype = DTYPES[self.precision]
        make_stack = fastest_stack(dtype, self.device) if self._may_fuse() else plain_stack(dtype)
        return CudaVocoder(network, dtype=dtype, graphs=self._new_graphs(), make_stack=make_stack)

    @contextmanager
    def warming(self) -> Iterator[None]:
        """Within the block new shapes are made ready: cuDNN tries its algorithms, small batches are recorded.

        What was found holds for later passes; other shapes take cuDNN's guess, without a trial in mid-work.
        """
        with ExitStack() as stack:
            for graphs in self._graphs:
                stack.enter_context(graphs.recording())
            torch.backends.cudnn.benchmark = True
            stack.callback(setattr, torch.backends.cudnn, "benchmark", False)
            yield

    def _may_fuse(self) -> bool:
        return self.device.type == "cuda" and self.precision in ("bf16", "fp16")

    def _new_graphs(self) -> Graphs:
        graphs = Graphs(CudaRecorder(self.device) if self.device.type == "cuda" else None)
        self._graphs.append(graphs)
        return graphs
