"""The mel of a whole file, read window by window from the pieces that the restorer left."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shared.keys import chunk_key
from shared.records import SPLIT, Piece
from shared.storage.interface import ObjectStore
from worker.arrays import Floats, get_rows
from worker.attempts.lost import left_by
from worker.chunks import Window, vocoder_view
from worker.handover import Handover
from worker.models.constants import N_MELS
from worker.plan import Plan

_FLOOR = 1e-8


def windows_of(plan: Plan, start: int, stop: int) -> list[Window]:
    """Give the windows whose pieces hold frames of [start, stop)."""
    return [window for window in plan.windows if window.mel_start < stop and window.mel_stop > start]


def readers_of(plan: Plan, window: Window) -> list[int]:
    """Give the numbers of the windows whose vocoder sees frames of this window's mel."""
    views = [(one.index, *vocoder_view(one, plan.frames, plan.geometry)) for one in plan.windows]
    return [index for index, start, stop in views if window.mel_start < stop and window.mel_stop > start]


def read_mel(
    store: ObjectStore,
    job_id: str,
    plan: Plan,
    attempts: Mapping[int, int],
    start: int,
    stop: int,
    *,
    near: Handover | None = None,
) -> Floats:
    """Read frames [start, stop) of the file's mel, `[C, stop − start, 128]`; what is *near* need not be fetched.

    *attempts* names the attempt that counts for each window of `windows_of`. Where pieces overlap (mode 2, whose
    windows differ), they are cross-faded in the logarithm, so that a level does not dip half way.

    Raises:
        WorkLost: if a piece is gone.
    """
    fading = plan.fade > 0
    mel = np.zeros((plan.channels, stop - start, N_MELS), dtype=np.float32)
    for window in windows_of(plan, start, stop):
        first, last = max(start, window.mel_start), min(stop, window.mel_stop)
        rows = _rows(store, job_id, plan, window, attempts[window.index], slice(first, last), near)
        if fading:
            weights = _fade(window, plan, np.arange(first, last))
            mel[:, first - start : last - start] += np.log10(np.maximum(rows, _FLOOR)) * weights[:, None]
        else:
            mel[:, first - start : last - start] = rows
    return np.power(np.float32(10), mel) if fading else mel


def _rows(
    store: ObjectStore, job_id: str, plan: Plan, window: Window, attempt: int, frames: slice, near: Handover | None
) -> Floats:
    key = chunk_key(job_id, "restore", window.index, attempt)
    start, stop = frames.start - window.mel_start, frames.stop - window.mel_start
    kept = near.get(key) if near is not None else None
    if kept is not None:
        return kept[:, start:stop]
    shape = (plan.channels, window.mel_stop - window.mel_start, N_MELS)
    # A mel that was sent was cut by the split.
    maker = Piece("restore", window.index) if "restore" in plan.stages else SPLIT
    with left_by(maker, attempt):
        return get_rows(store, key, shape, start, stop)


def _fade(window: Window, plan: Plan, frames: NDArray[np.int64]) -> Floats:
    """Weights of a window's frames; those of neighbours add up to 1."""
    rise = _ramp(frames, window.start, plan.fade) if window.start > 0 else np.ones(len(frames))
    fall = _ramp(frames, window.stop, plan.fade) if window.stop < plan.frames else np.zeros(len(frames))
    return (rise - fall).astype(np.float32)


def _ramp(frames: NDArray[np.int64], centre: int, half: int) -> NDArray[np.float64]:
    return np.clip((frames - centre + half + 0.5) / (2 * half), 0.0, 1.0)
