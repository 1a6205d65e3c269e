"""The worker's own steps on a signal in memory: the same windows, reads and joins, without a queue."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shared.keys import chunk_key, pcm_key
from shared.storage import open_storage
from worker.arrays import put_array
from worker.chunks import Geometry, Window, output_span, plan_windows, sample_range, vocoder_view
from worker.mels import read_mel
from worker.models.constants import SAMPLE_RATE
from worker.models.interface import MelSpan, RestoreCondition, Restorer, Vocoder
from worker.pcm import pcm_bytes, read_padded
from worker.plan import Plan, frames_of

Floats = NDArray[np.float32]
JOB = "0" * 32


class ChunkedChain:
    """Restores and vocodes a mono signal window by window.

    Attributes:
        plan: as a split would have left it.
    """

    def __init__(self, folder: Path, audio: Floats, geometry: Geometry) -> None:
        self._store = open_storage(f"file://{folder.resolve()}")
        self._store.put(pcm_key(JOB, 1), bytes(pcm_bytes(audio[:, None])))
        self.plan = _plan(len(audio), geometry)
        self.windows = plan_windows(self.plan.frames, geometry)

    def restore(self, restorer: Restorer, *, off_grid: int = 0) -> Floats:
        """Restore every window and join the mels, `[T, 128]`; *off_grid* moves their starts by so many frames."""
        for window in self.windows:
            self._restore_window(restorer, _shifted(window, off_grid))
        return self.mel(0, self.plan.frames)

    def keep(self, mel: Floats) -> None:
        """Take a whole file's mel `[T, 128]` as if the windows had been restored to it."""
        for window in self.windows:
            self._put(window, mel[None, window.mel_start : window.mel_stop])

    def vocode(self, vocoder: Vocoder) -> Floats:
        """Vocode every window of the joined mel and concatenate."""
        return np.concatenate([self._vocode_window(vocoder, window) for window in self.windows])

    def mel(self, start: int, stop: int) -> Floats:
        """Read frames of the joined mel."""
        attempts = {window.index: 1 for window in self.windows}
        mel: Floats = read_mel(self._store, JOB, self.plan, attempts, start, stop)[0]
        return mel

    def vocode_near(self, vocoder: Vocoder, start: int, stop: int) -> Floats:
        """Vocode frames [start, stop) alone, with their halo."""
        return self._vocode_window(vocoder, Window(0, start, stop, 0, 0, 0, 0))

    def _restore_window(self, restorer: Restorer, window: Window) -> None:
        span = sample_range(window.seen_start, window.seen_stop)
        padded = torch.from_numpy(np.array(read_padded(self._store, pcm_key(JOB, 1), self.plan, *span)))
        mel = restorer.restore(padded, [RestoreCondition()])[:, 0].cpu().numpy()
        self._put(window, mel[:, window.mel_start - window.seen_start : window.mel_stop - window.seen_start])

    def _vocode_window(self, vocoder: Vocoder, window: Window) -> Floats:
        first, last = vocoder_view(window, self.plan.frames, self.plan.geometry)
        start, stop = output_span(window, self.plan.frames, self.plan.samples)
        span = MelSpan(
            first_frame=first,
            total_frames=self.plan.frames,
            total_samples=self.plan.samples,
            start=start,
            stop=stop,
        )
        mel = torch.from_numpy(self.mel(first, last))[None, None]
        return np.asarray(vocoder.vocode(mel, [span])[0].cpu().numpy())

    def _put(self, window: Window, mel: Floats) -> None:
        put_array(self._store, chunk_key(JOB, "restore", window.index, 1), mel)


def _shifted(window: Window, off_grid: int) -> Window:
    """Start a window inside the file earlier, or later where the file's beginning leaves no room before it."""
    if window.index == 0:
        return window
    start = window.seen_start - off_grid if window.seen_start >= off_grid else window.seen_start + off_grid
    return replace(window, seen_start=min(start, window.mel_start))


def _plan(samples: int, geometry: Geometry) -> Plan:
    return Plan(
        attempt=1,
        stages=("restore", "vocode"),
        mode=0,
        seed=0,
        channels=1,
        samples=samples,
        frames=frames_of(samples),
        source_rate=SAMPLE_RATE,
        source_samples=samples,
        core=geometry.core,
        context=geometry.context,
        halo=geometry.halo,
        fade=geometry.fade,
        filename="bench",
    )
