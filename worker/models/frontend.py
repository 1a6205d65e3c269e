"""Samples → linear mel, as the restorer was trained on: |STFT| of 2048-sample Hann frames times 128 triangles."""

import math

import torch
from torch import Tensor, nn

import worker.models.mathlib as _settled  # noqa: F401 - for what it does, before the first window is made
from worker.models.constants import HOP, N_BINS, N_MELS, PAD, SAMPLE_RATE, WINDOW

POWER_FLOOR = 1e-8
"""Least power of a bin, so that no magnitude is under 1e-4."""
ANALYTIC_TOLERANCE = 1e-5


class AnalyticSTFT(nn.Module):
    """The transform by FFT: what the convolution of the checkpoint computes, in a thirtieth of the time."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(WINDOW, periodic=True), persistent=False)

    def forward(self, padded: Tensor) -> tuple[Tensor, Tensor]:
        """`[B, samples]` → real and imaginary part, each `[B, F, 1025]`, frames uncentred."""
        spectrum = torch.stft(
            padded, WINDOW, HOP, WINDOW, window=self.get_buffer("window"), center=False, return_complex=True
        )
        return spectrum.real.mT, spectrum.imag.mT


class KernelSTFT(nn.Module):
    """The transform by the checkpoint's own kernels, for weights whose kernels were trained away from analytic."""

    def __init__(self, real: Tensor, imag: Tensor) -> None:
        super().__init__()
        from torchlibrosa.stft import STFT

        self.stft = STFT(n_fft=WINDOW, hop_length=HOP, win_length=WINDOW, center=False, freeze_parameters=True)
        state = {"conv_real.weight": real, "conv_imag.weight": imag}
        self.stft.load_state_dict(state, assign=True)

    def forward(self, padded: Tensor) -> tuple[Tensor, Tensor]:
        """`[B, samples]` → real and imaginary part, each `[B, F, 1025]`, frames uncentred."""
        real, imag = self.stft(padded)
        return real[:, 0], imag[:, 0]


class MelFrontEnd(nn.Module):
    """Padded samples → linear mel."""

    def __init__(self, transform: AnalyticSTFT | KernelSTFT, triangles: Tensor) -> None:
        super().__init__()
        self.transform = transform
        self.register_buffer("triangles", triangles, persistent=False)

    def forward(self, padded: Tensor) -> Tensor:
        """`[B, 441·(F−1) + 2048]` → `[B, 1, F, 128]`."""
        real: Tensor
        imag: Tensor
        real, imag = self.transform(padded)
        magnitude = (real.square() + imag.square()).clamp_min(POWER_FLOOR).sqrt()
        return (magnitude @ self.get_buffer("triangles")).unsqueeze(1)


def build_front_end(*, real: Tensor, imag: Tensor, triangles: Tensor) -> MelFrontEnd:
    """Choose the transform by the checkpoint's kernels `[1025, 1, 2048]`; take its mel matrix `[1025, 128]`.

    What is taken is copied.
    """
    if kernels_are_analytic(real, imag):
        return MelFrontEnd(AnalyticSTFT(), triangles.clone())
    return MelFrontEnd(KernelSTFT(real.clone(), imag.clone()), triangles.clone())


def kernels_are_analytic(real: Tensor, imag: Tensor) -> bool:
    """Whether the kernels are those of a windowed DFT to 1e-5."""
    # The transform of each windowed unit impulse is a column of the kernels; a fraction of the work of their cosines.
    impulses = torch.diag(torch.hann_window(WINDOW, periodic=True, device=real.device))
    columns = torch.view_as_real(torch.fft.rfft(impulses)).permute(2, 1, 0)
    return all(
        bool((kernel[:, 0] - column).abs_().max() <= ANALYTIC_TOLERANCE)
        for kernel, column in zip((real, imag), columns, strict=True)
    )


def analytic_kernels() -> tuple[Tensor, Tensor]:
    """Cosine and −sine rows of a DFT under a periodic Hann window, each `[1025, 1, 2048]` float32."""
    # The product k·n is taken modulo the window, so that the angle keeps its precision.
    steps = torch.outer(torch.arange(N_BINS), torch.arange(WINDOW)) % WINDOW
    turn = torch.arange(WINDOW, dtype=torch.float64) * (2 * math.pi / WINDOW)
    window = torch.hann_window(WINDOW, periodic=True, dtype=torch.float64)
    real = (turn.cos()[steps] * window).float()
    imag = (-turn.sin()[steps] * window).float()
    return real.unsqueeze(1), imag.unsqueeze(1)


def mel_triangles() -> Tensor:
    """128 triangles on the HTK scale, 0 to 22,050 Hz, without area norm: `[1025, 128]` float32.

    The scale is that of the HTK book, mel = 2595·log10(1 + f/700); points and slopes are taken in float32, as
    those of the published checkpoint were.
    """
    nyquist = SAMPLE_RATE / 2
    frequencies = torch.linspace(0, nyquist, N_BINS)
    top = 2595.0 * math.log10(1.0 + nyquist / 700.0)
    corners = 700.0 * (10.0 ** (torch.linspace(0, top, N_MELS + 2) / 2595.0) - 1.0)
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    rising = (frequencies[:, None] - left) / (centre - left)
    falling = (right - frequencies[:, None]) / (right - centre)
    return torch.minimum(rising, falling).clamp_min(0.0)


def centre_pad(audio: Tensor) -> Tensor:
    """Reflect 1024 samples at either end of `[B, N]`; fewer than 1025 are extended by zeros first."""
    short = PAD + 1 - audio.shape[1]
    if short > 0:
        audio = nn.functional.pad(audio, (0, short))
    return nn.functional.pad(audio.unsqueeze(1), (PAD, PAD), mode="reflect").squeeze(1)
