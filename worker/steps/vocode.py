"""Vocode one window: the file's mel around it in, its samples out."""

import numpy as np

from shared.keys import chunk_key
from shared.records import Piece
from worker.arrays import put_array
from worker.chunks import Window, output_span, vocoder_view
from worker.engine import VocodeItem
from worker.mels import read_mel, windows_of
from worker.models.interface import MelSpan
from worker.task import Stopped, Task


def vocode(task: Task) -> list[Piece] | None:
    """Read the mel of the core and its halo from all pieces that hold it; keep the core's samples `[n, C]`."""
    plan = task.plan()
    assert task.claim.piece.index is not None
    window = plan.windows[task.claim.piece.index]
    engine = task.ctx.engine
    assert engine is not None
    first, last = vocoder_view(window, plan.frames, plan.geometry)
    start, stop = output_span(window, plan.frames, plan.extended_samples)
    mel = read_mel(task.ctx.store, task.job_id, plan, _attempts(task, windows_of(plan, first, last)), first, last)
    span = MelSpan(
        first_frame=first, total_frames=plan.frames, total_samples=plan.extended_samples, start=start, stop=stop
    )
    audio = engine.vocode([VocodeItem(channel, span) for channel in mel])
    key = chunk_key(task.job_id, "vocode", window.index, task.claim.attempt)
    put_array(task.ctx.store, task.own(key), np.stack(audio, axis=1))
    return task.ctx.records.complete(task.job_id, task.claim, model=engine.model_label("vocode"))


def _attempts(task: Task, windows: list[Window]) -> dict[int, int]:
    indices = [window.index for window in windows]
    try:
        attempts = task.ctx.records.winners(task.job_id, [Piece("restore", index) for index in indices])
    except KeyError:
        raise Stopped from None
    return dict(zip(indices, attempts, strict=True))
