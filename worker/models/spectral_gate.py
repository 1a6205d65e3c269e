"""A restorer without weights: takes stationary noise out of the mel, for a machine that has no checkpoint.

Sources: the gain and its mixing with a floor by the probability of speech follow I. Cohen and B. Berdugo, "Speech
enhancement for non-stationary noise environments", Signal Processing 81 (2001), with the Wiener gain of J. S. Lim and
A. V. Oppenheim, Proc. IEEE 67 (1979). The a priori signal-to-noise ratio is the local average of power subtraction,
in place of the decision-directed recursion of Y. Ephraim and D. Malah, IEEE TASSP 32 (1984), which never forgets:
an average of finite reach makes windows with context equal to the whole file.

It knows one noise profile a file and changes nothing else: no band is given back, no clipping is mended.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worker.models.frontend import AnalyticSTFT, MelFrontEnd, mel_triangles
from worker.models.interface import RestoreCondition
from worker.models.validate import check_padded

FLOOR = 0.1
"""What is left where there is no speech: −20 dB sounds like a quiet room, less like a hole."""
POWER_OVER_MEAN = 4 / np.pi
"""Mean power over squared mean magnitude of Rayleigh-distributed magnitudes."""
OVERESTIMATE = 1.4
"""The noise is taken for louder by this factor in power, so that its peaks do not pass as speech."""
NEAR = (5, 3)
"""Frames and mel bins that the signal-to-noise ratio is averaged over."""
WIDE = (17, 9)
"""Frames and mel bins that tell whether there is speech at all."""
ABSENT, PRESENT = 1.2, 2.6
"""Average power over noise power below which speech is surely absent, and above which it is surely present."""
REACH = WIDE[0] // 2
"""Frames on either side that a frame's gain depends on."""


class SpectralGateRestorer:
    """Mel magnitudes times a gain from the file's noise profile; without a profile, the mel as it is."""

    model_type = "SpectralGateRestorer"

    def __init__(self, *, device: str = "cpu") -> None:
        self.weights: dict[str, str] = {}
        self.device = torch.device(device)
        self._triangles = mel_triangles().to(self.device)
        self._front_end = MelFrontEnd(AnalyticSTFT(), self._triangles).to(self.device)

    @torch.inference_mode()
    def restore(self, padded: Tensor, conditions: Sequence[RestoreCondition]) -> Tensor:
        """Padded windows `[B, 441·(F−1) + 2048]` → gated mel `[B, 1, F, 128]`; see `interface.Restorer`.

        Modes and seeds change nothing here. Raises `InputError`.
        """
        check_padded(padded, conditions)
        mel: Tensor = self._front_end(padded.to(self.device))
        return mel * self._gain(mel, self._noise(conditions))

    def _noise(self, conditions: Sequence[RestoreCondition]) -> Tensor:
        """The noise's mean mel magnitude `[B, 1, 1, 128]`, zero where nothing is known."""
        nothing = np.zeros(len(self._triangles), np.float32)
        profiles = [nothing if one.noise_profile is None else one.noise_profile for one in conditions]
        linear = torch.from_numpy(np.stack(profiles).astype(np.float32)).to(self.device)
        return (linear @ self._triangles)[:, None, None]

    def _gain(self, mel: Tensor, noise: Tensor) -> Tensor:
        """Gain `[B, 1, F, 128]` between the floor and 1."""
        noise_power = (OVERESTIMATE * POWER_OVER_MEAN) * noise.square()
        ratio = mel.square() / noise_power.clamp_min(torch.finfo(mel.dtype).tiny)
        prior = (_average(ratio, NEAR) - 1).clamp_min(0)
        wiener = prior / (1 + prior)
        speech = ((OVERESTIMATE * _average(ratio, WIDE) - ABSENT) / (PRESENT - ABSENT)).clamp(0, 1)
        gated = wiener.clamp_min(FLOOR) ** speech * FLOOR ** (1 - speech)
        return torch.where(noise > 0, gated, 1.0)


def _average(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Average over a box around each frame and bin; at the edges over what is there."""
    margins = size[0] // 2, size[1] // 2
    return functional.avg_pool2d(values, size, stride=1, padding=margins, count_include_pad=False)
