"""Draws what restoring changed: two spectrograms with one scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_WINDOW = 2048
_STEP = 512
_RANGE_DB = 90.0


@dataclass(frozen=True)
class Panel:
    """A recording and what is written above it."""

    file: Path
    title: str


def draw(panels: Sequence[Panel], out: Path) -> None:
    """Draw the spectrogram of each file under the other into a PNG; the first channel stands for all."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    read = [_read(panel.file) for panel in panels]
    levels = [_spectrogram(samples) for samples, _ in read]
    top = max(float(level.max()) for level in levels)
    figure, axes = pyplot.subplots(len(panels), 1, figsize=(11, 3.6 * len(panels)), layout="constrained", squeeze=False)
    for axis, panel, level, (samples, rate) in zip(axes[:, 0], panels, levels, read, strict=True):
        extent = (0.0, samples.size / rate, 0.0, rate / 2000)
        picture = axis.imshow(
            level, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=top - _RANGE_DB, vmax=top
        )
        axis.set(title=panel.title, xlabel="seconds", ylabel="kHz", ylim=(0, 22.05))
    figure.colorbar(picture, ax=axes, label="dB re full scale")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)
    pyplot.close(figure)


def _read(file: Path) -> tuple[NDArray[np.float32], int]:
    import soundfile

    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    return samples[:, 0], int(rate)


def _spectrogram(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Levels in dB, `[frequencies, frames]`: a sine of full scale reads 0."""
    window = np.hanning(_WINDOW)
    padded = np.pad(samples, (_WINDOW // 2, _WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_STEP]
    spectrum = np.abs(np.fft.rfft(frames * window, axis=1)) * 2 / window.sum()
    return np.asarray(20 * np.log10(spectrum + 1e-9)).T
