"""A vocoder without weights: mel → samples by phase reconstruction, for a machine that has no checkpoint.

Sources: D. W. Griffin and J. S. Lim, "Signal estimation from modified short-time Fourier transform", IEEE TASSP 32
(1984), in the accelerated form of N. Perraudin, P. Balazs and P. L. Søndergaard, "A fast Griffin-Lim algorithm",
WASPAA 2013. The linear magnitudes come from the mel by the multiplicative updates of D. D. Lee and H. S. Seung,
"Algorithms for non-negative matrix factorization", NIPS 2000, with the mel matrix held fixed.

Each iteration carries information over four frames on either side, and the first phases depend on a frame's place in
its file, not in its window: so windows that hold `reach` true frames around their samples make the file's own samples.
"""

import math
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from worker.models.constants import HOP, N_BINS, PAD, WINDOW, padded_length
from worker.models.errors import InputError
from worker.models.frontend import mel_triangles
from worker.models.interface import MelSpan
from worker.models.validate import check_mel, check_span, check_spans

OVERLAP = (WINDOW - 1) // HOP
"""Frames on either side that share samples with a frame."""
MOMENTUM = 0.99
UPDATES = 8
"""Multiplicative updates from mel to linear magnitude."""
TINY = 1e-18
LEVEL = 1.05
"""Makes up, halfway between speech and noise, for noise whose power is 4/π (1 dB) above its squared mean magnitude."""
LEAST_WEIGHT = 1e-3
"""Where windows overlap less than this, at the outermost samples, their sum is not divided by it."""


class GriffinLimVocoder:
    """Phase reconstruction with a fixed number of iterations; deterministic, and of finite reach."""

    model_type = "GriffinLimVocoder"

    def __init__(self, iterations: int = 32, *, device: str = "cpu") -> None:
        """Prepare for so many iterations; more sound better and reach further (4 frames each)."""
        self.weights: dict[str, str] = {}
        self.iterations = iterations
        self.device = torch.device(device)
        self._triangles = mel_triangles().to(self.device)
        self._window = torch.hann_window(WINDOW, periodic=True, device=self.device)

    @property
    def reach(self) -> int:
        """Frames on either side of the wanted samples that their values depend on."""
        return OVERLAP * (self.iterations + 2)

    def shape_key(self, frames: int, span: MelSpan) -> Hashable:
        """Windows of equal frames and wanted samples share a batch."""
        check_span(frames, span)
        return frames, span.stop - span.start

    @torch.inference_mode()
    def vocode(self, mel: Tensor, spans: Sequence[MelSpan]) -> Tensor:
        """Mel windows `[B, 1, t, 128]` → the samples `[B, stop − start]` of each span; see `interface.Vocoder`.

        Exact where a window holds `reach` true frames around its samples, or the file's end. Raises `InputError`.
        """
        check_mel(mel)
        check_spans(mel, spans)
        return torch.stack([self._item(item[0], span) for item, span in zip(mel.to(self.device), spans, strict=True)])

    def _item(self, mel: Tensor, span: MelSpan) -> Tensor:
        """One window `[t, 128]` → its samples; frames beyond the reach are left out, as they change nothing."""
        wanted = span.start // HOP, (span.stop - 1) // HOP
        if wanted[0] < span.first_frame or wanted[1] >= span.first_frame + len(mel):
            raise InputError("A mel window does not hold the frames of the samples that are wanted of it.")
        first = max(wanted[0] - self.reach - span.first_frame, 0)
        last = min(wanted[1] + 2 + self.reach - span.first_frame, len(mel))
        absolute = span.first_frame + first
        audio = self._invert(mel[first:last], absolute)
        start = span.start - HOP * absolute + PAD
        return LEVEL * audio[start : start + span.stop - span.start]

    def _invert(self, mel: Tensor, first_frame: int) -> Tensor:
        """Mel `[t, 128]` → samples `[441·(t−1) + 2048]`, of which 1024 lie before the first frame's centre."""
        magnitude = self._linear(mel)
        guess = torch.polar(magnitude, first_phases(first_frame, len(mel)).to(self.device))
        overlap = _overlap_add(self._window.square().expand(len(mel), WINDOW)).clamp_min_(LEAST_WEIGHT)
        previous = torch.zeros_like(guess)
        for _ in range(self.iterations):
            consistent = self._analyse(self._synthesise(guess, overlap))
            moved = consistent * (1.0 + MOMENTUM) - previous * MOMENTUM
            previous = consistent
            power = torch.addcmul(moved.real.square(), moved.imag, moved.imag)
            guess = moved * power.clamp_min_(TINY).rsqrt_().mul_(magnitude)
        return self._synthesise(guess, overlap)

    def _linear(self, mel: Tensor) -> Tensor:
        """Mel `[t, 128]` → non-negative magnitudes `[t, 1025]` whose mel it is."""
        triangles = self._triangles
        magnitude = (mel / triangles.sum(dim=0).clamp_min(TINY)) @ triangles.T
        wanted = mel @ triangles.T
        for _ in range(UPDATES):
            magnitude = magnitude * (wanted / ((magnitude @ triangles) @ triangles.T).clamp_min(TINY))
        return magnitude

    def _analyse(self, audio: Tensor) -> Tensor:
        """Samples → spectrum `[t, 1025]`, frames uncentred."""
        spectrum = torch.stft(audio, WINDOW, HOP, window=self._window, center=False, return_complex=True)
        return spectrum.mT

    def _synthesise(self, spectrum: Tensor, overlap: Tensor) -> Tensor:
        """Spectrum `[t, 1025]` → the samples whose spectrum is nearest to it (Griffin and Lim 1984, equation 6)."""
        return _overlap_add(torch.fft.irfft(spectrum, WINDOW) * self._window) / overlap


def first_phases(first_frame: int, frames: int) -> Tensor:
    """Phases `[frames, 1025]` to begin with: in every bin a steady tone at its own frequency, from the file's start.

    The angle of bin k in frame t is 2π·k·441·t / 2048 (whole numbers modulo the window keep its precision), plus an
    offset of the bin that is spread over the circle, so that the tones never meet in one loud pulse.
    """
    bins = torch.arange(N_BINS)
    moments = torch.arange(first_frame, first_frame + frames) * HOP % WINDOW
    turns = torch.outer(moments, bins) % WINDOW
    spread = bins * bins * 1_103 % WINDOW
    return (turns + spread) % WINDOW * (2 * math.pi / WINDOW)


def _overlap_add(frames: Tensor) -> Tensor:
    """Frames `[t, 2048]` → their sum `[441·(t−1) + 2048]`; each sample adds its frames in one order everywhere."""
    count = len(frames)
    hops = frames.new_zeros(count + OVERLAP, HOP)
    for step in range(OVERLAP):
        hops[step : step + count] += frames[:, step * HOP : (step + 1) * HOP]
    rest = WINDOW - OVERLAP * HOP
    hops[OVERLAP:, :rest] += frames[:, OVERLAP * HOP :]
    return hops.flatten()[: padded_length(count)]
