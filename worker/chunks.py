"""How a recording is cut into windows: pure arithmetic on mel frames.

The UNet is shift-invariant only by 64 frames, so every window of the restorer starts on that grid; inside the
file it sees *context* frames beyond its core on each side. All lengths are in frames of 10 ms.
"""

from dataclasses import dataclass

from worker.models.constants import GRID, HOP, PAD, padded_length


@dataclass(frozen=True)
class Geometry:
    """Sizes of windows.

    Attributes:
        core: new frames of a window; a multiple of 64.
        context: frames that the restorer sees beyond the core on each side; a multiple of 64.
        halo: frames that the vocoder sees beyond the core on each side.
        fade: half the cross-fade of neighbouring mels; 0 where they agree anyway.
    """

    core: int
    context: int
    halo: int
    fade: int = 0

    def __post_init__(self) -> None:
        if self.core < GRID or self.core % GRID or self.context % GRID or self.context < 0:
            raise ValueError(f"core and context must be multiples of {GRID} frames")
        if self.fade > min(self.context, self.core // 2):
            raise ValueError("the fade must fit into the context and into half a core")


@dataclass(frozen=True)
class Window:
    """One chunk of a file.

    Attributes:
        index: its number, from 0.
        start, stop: its core; cores tile the file's frames.
        seen_start, seen_stop: what the restorer sees; `seen_start` is a multiple of 64.
        mel_start, mel_stop: what is kept of the restored mel: the core and its fades.
    """

    index: int
    start: int
    stop: int
    seen_start: int
    seen_stop: int
    mel_start: int
    mel_stop: int


def plan_windows(frames: int, geometry: Geometry) -> list[Window]:
    """Cut a file of so many frames.

    A file no longer than a core and its context is one window. Otherwise cores of `core` frames follow each other, and
    the last takes up a rest that its own context shows it anyway. The last window reaches back on the grid, so
    that all windows of a long file have one length once time is padded to 64 frames.
    """
    full = geometry.core + 2 * geometry.context
    if frames <= geometry.core + geometry.context:
        return [Window(0, 0, frames, 0, frames, 0, frames)]
    windows: list[Window] = []
    start = 0
    while frames > start + geometry.core + max(geometry.context, GRID):
        seen_start = max(0, start - geometry.context)
        seen_stop = min(frames, seen_start + full)
        windows.append(_window(len(windows), start, start + geometry.core, seen_start, seen_stop, geometry))
        start += geometry.core
    seen_start = min(_ceil(frames, GRID) - full, start - geometry.context)
    last = _window(len(windows), start, frames, max(0, seen_start), frames, geometry)
    return [*windows, Window(**{**vars(last), "mel_stop": frames})]


def _window(index: int, start: int, stop: int, seen_start: int, seen_stop: int, geometry: Geometry) -> Window:
    mel_start = max(seen_start, start - geometry.fade) if start else 0
    return Window(index, start, stop, seen_start, seen_stop, mel_start, stop + geometry.fade)


def _ceil(value: int, step: int) -> int:
    return -(-value // step) * step


def reach(geometry: Geometry) -> int:
    """Tell how many neighbours on each side a vocoder window may read from."""
    return -(-(geometry.halo + geometry.fade) // geometry.core)


def vocoder_view(window: Window, frames: int, geometry: Geometry) -> tuple[int, int]:
    """Give the frames that the vocoder sees for a window: its core and the halo, within the file."""
    return max(0, window.start - geometry.halo), min(frames, window.stop + geometry.halo)


def output_span(window: Window, frames: int, samples: int) -> tuple[int, int]:
    """Give the samples of the file's output that a window makes; the spans tile the file."""
    return window.start * HOP, samples if window.stop == frames else window.stop * HOP


def sample_range(start: int, stop: int) -> tuple[int, int]:
    """Give the samples that frames [start, stop) are made of; they may lie up to 1,024 outside the file.

    Frame t is centred on sample 441·t and reaches 1,024 samples to either side.
    """
    first = start * HOP - PAD
    return first, first + padded_length(stop - start)
