"""Runs networks of the numba backend as a CPU with vectors of eight values does; prints how near PyTorch they come."""

import llvmlite.binding as llvm


def pretend() -> None:
    """Leave out, for this process, what has vectors of sixteen values."""
    features = llvm.get_host_cpu_features()
    for name in [name for name in features if name.startswith(("avx512", "amx"))]:
        features[name] = False
    llvm.get_host_cpu_features = lambda: features


def main() -> None:
    """Print the lowest SNR of three networks."""
    pretend()
    import torch

    from bench.parity import snr_db
    from worker.backends.numba.cpu.team import Team
    from worker.backends.numba.cpu.vectors import LANES
    from worker.backends.numba.denoiser import Recurrence
    from worker.backends.numba.unet import QuickUNet
    from worker.backends.numba.vocoder import Vocoder
    from worker.models.denoiser import NormedGRU
    from worker.models.folding import fold_unet
    from worker.models.tfgan import TFGAN
    from worker.models.unet import UNet

    assert LANES == 8
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    team = Team(2)
    vocoder, unet, gru = (network.eval() for network in (TFGAN(), UNet(), NormedGRU()))
    gru.bn = torch.nn.Identity()
    ours = Vocoder(vocoder, team), QuickUNet(unet, team), Recurrence(gru, team)
    team.finish()
    fold_unet(unet)
    condition, logs, x = torch.randn(1, 128, 9), torch.randn(1, 2, 70, 128), torch.randn(1, 1, 9, 512)
    pairs = [
        (vocoder(condition, (0, 441 * 9)), ours[0](condition, (0, 441 * 9))),
        (unet(logs), ours[1](logs)),
        (gru(x), ours[2](x)),
    ]
    print(min(snr_db(expected, found) for expected, found in pairs))


if __name__ == "__main__":
    main()
