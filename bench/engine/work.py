"""How much there is to compute, and how fast this machine computes at best."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from worker.models.constants import HOP, N_BINS, N_MELS, WINDOW, frame_count
from worker.models.networks import blank_network
from worker.models.tfgan import TFGAN

_SIDE = 2048
_REPEATS = 6


def stage_flops(samples: int) -> dict[str, float]:
    """Floating point operations of each stage for a file of so many samples, and of the chain.

    Multiplications and additions of direct convolution, without the branches that nobody uses and without padding
    that an implementation may add; a real FFT of N points counts 2.5·N·log2 N.
    """
    frames = frame_count(samples)
    network = blank_network().eval()
    tail = 4 + frames % 2
    with torch.device("meta"):
        vocoder = TFGAN()
        mel = torch.empty(1, 1, frames, N_MELS)
        condition = torch.empty(1, N_MELS, frames + tail)
    start = (HOP * (frames + tail) - samples) // 2
    flops = {
        "mel": frames * (2.5 * WINDOW * math.log2(WINDOW) + 2.0 * N_BINS * N_MELS),
        # Every frame costs the same, and a recurrent network on the meta device takes its time.
        "denoiser": _count(network.denoiser, lambda: network.denoise(mel[:, :, :8])) * frames / 8,
        "unet": _count(network.unet, lambda: network.refine(mel, mel)),
        "vocoder": _count(vocoder, lambda: vocoder(condition, (start, start + samples))),
    }
    return flops | {"chain": sum(flops.values())}


def _count(network: nn.Module, run: Callable[[], object]) -> float:
    counted = [0.0]

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        counted[0] += _operations(module, inputs[0], output)

    hooks = [module.register_forward_hook(hook) for module in network.modules() if not list(module.children())]
    with torch.inference_mode():
        run()
    for handle in hooks:
        handle.remove()
    return counted[0]


def _operations(module: nn.Module, given: Tensor, output: Tensor) -> float:
    if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d):
        return 2.0 * given.numel() * module.weight[0].numel()
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
        return 2.0 * output.numel() * module.weight[0].numel()
    if isinstance(module, nn.GRU):
        weights = sum(weight.numel() for name, weight in module.named_parameters() if name.startswith("weight"))
        return 2.0 * given.shape[0] * given.shape[1] * weights
    return 0.0


def gemm_peak(dtype: torch.dtype, threads: int) -> float:
    """The best rate of a large matrix product on so many threads, in operations a second."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    one, two = (torch.randn(_SIDE, _SIDE).to(dtype) for _ in range(2))
    best = math.inf
    for _ in range(_REPEATS):
        began = time.perf_counter()
        torch.mm(one, two)
        best = min(best, time.perf_counter() - began)
    torch.set_num_threads(before)
    return 2.0 * _SIDE**3 / best


def has_bf16() -> bool:
    """Whether this processor multiplies in bfloat16."""
    flags = Path("/proc/cpuinfo").read_text().split()
    return "avx512_bf16" in flags or "amx_bf16" in flags
