"""What the two checkpoint files hold: every key with its shape and type, derived from the networks themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from worker.models.constants import N_BINS, N_MELS, WINDOW
from worker.models.files import VOCODER_FILE
from worker.models.networks import blank_network
from worker.models.tfgan import CHANNELS, FACTORS, TFGAN

VOCODER_IN_RESTORER = "vocoder.model."
"""Under this prefix the restorer's file carries the vocoder again, its weight norm removed."""


@dataclass(frozen=True)
class Spec:
    """Shape and type of one tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32


Layout = dict[str, Spec]

INVERSE_STFT = {
    # torchlibrosa from 0.0.9 on, and before it. The kernels are never used: the mel is not turned back.
    "ola_window": {"f_helper.istft.ola_window": Spec((WINDOW,))},
    "overlap_add": {
        "f_helper.istft.reverse.weight": Spec((N_BINS - 2, N_BINS, 1)),
        "f_helper.istft.overlap_add.weight": Spec((WINDOW, 1, WINDOW, 1)),
    },
}


def expected_layout(file: str, keys: Mapping[str, object]) -> Layout:
    """The layout of a file by its name; `keys` decide which torchlibrosa wrote it."""
    if file == VOCODER_FILE:
        return vocoder_layout()
    old = any(key in keys for key in INVERSE_STFT["overlap_add"])
    return restorer_layout() | INVERSE_STFT["overlap_add" if old else "ola_window"]


@cache
def restorer_layout() -> Layout:
    """The 893 keys of `vf.ckpt` that every torchlibrosa writes; `INVERSE_STFT` completes them."""
    front = {f"f_helper.stft.conv_{part}.weight": Spec((N_BINS, 1, WINDOW)) for part in ("real", "imag")}
    back = {f"f_helper.istft.conv_{part}.weight": Spec((WINDOW, WINDOW, 1)) for part in ("real", "imag")}
    network = {f"generator.{key}": spec for key, spec in _specs(blank_network().state_dict()).items()}
    vocoder = {f"{VOCODER_IN_RESTORER}{key}": spec for key, spec in _plain_vocoder().items()}
    return front | back | {"mel.fb": Spec((N_BINS, N_MELS))} | network | vocoder


@cache
def vocoder_layout() -> Layout:
    """The 233 keys under `generator` in the vocoder's file, weight norms in the old style."""
    normed: Layout = {}
    for key, spec in _plain_vocoder().items():
        if key.endswith(".weight") and ".skip_conv." not in key:
            normed[f"{key}_g"] = Spec((spec.shape[0], 1, 1))
            normed[f"{key}_v"] = spec
        else:
            normed[key] = spec
    return normed


def _plain_vocoder() -> Layout:
    with torch.device("meta"):
        live = _specs(TFGAN().state_dict())
    dead: Layout = {}
    for stage in range(len(FACTORS)):
        # Trained beside each upsampler, computed by the package, and thrown away by it.
        name = f"generator.{3 + 3 * stage}.skip_conv"
        inputs, outputs = CHANNELS[stage : stage + 2]
        dead |= {f"{name}.weight": Spec((outputs, inputs, 1)), f"{name}.bias": Spec((outputs,))}
    return live | dead


def _specs(state: Mapping[str, Tensor]) -> Layout:
    return {key: Spec(tuple(tensor.shape), tensor.dtype) for key, tensor in state.items()}
