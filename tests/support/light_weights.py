"""Checkpoints in the published format that take little room and whose effect is known.

The published weights are a file of half a gigabyte each: these hold one stored value for most tensors.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from worker.models.files import RESTORER_FILE, VOCODER_FILE
from worker.models.frontend import analytic_kernels, mel_triangles
from worker.models.layout import expected_layout

MASK_BIAS = "generator.denoiser.15.bias"


def blank(file: str, value: float = 0.0) -> dict[str, Tensor]:
    """All tensors of a file by its name, each of one value."""
    layout = expected_layout(file, {})
    return {key: torch.full((), value).to(spec.dtype).expand(spec.shape) for key, spec in layout.items()}


def save(folder: Path, file: str, tensors: Mapping[str, Tensor]) -> Path:
    """Write a file as the published one is written; gives its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    content = dict(tensors)
    torch.save({"generator": content} if file == VOCODER_FILE else content, folder / file)
    return folder


def light_restorer(folder: Path, *, factor: float, trained: float = 1.0) -> Path:
    """Write a restorer that multiplies the mel of what it hears by a factor below 1; gives its folder.

    Its denoiser's mask is the same everywhere, and its UNet adds nothing. Half the kernels of its STFT are *trained*
    times those of a Fourier transform.
    """
    real, imag = analytic_kernels()
    front = {
        "f_helper.stft.conv_real.weight": trained * real,
        "f_helper.stft.conv_imag.weight": imag,
        "mel.fb": mel_triangles(),
    }
    mask = {MASK_BIAS: torch.full((128,), factor).logit()}
    return save(folder, RESTORER_FILE, blank(RESTORER_FILE) | front | mask)
