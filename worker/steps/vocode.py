"""Vocode one window: the file's mel around it in, its samples out."""

from collections.abc import Mapping

import numpy as np

from shared.keys import chunk_key
from shared.records import Message, Piece
from worker.arrays import put_array
from worker.attempts.lost import WorkLost
from worker.chunks import Window, output_span, vocoder_view
from worker.mels import read_mel, windows_of
from worker.models.interface import MelSpan
from worker.smaller import vocode_window
from worker.task import Task


def vocode(task: Task) -> list[Message] | None:
    """Read the mel of the core and its halo from all pieces that hold it; keep the core's samples `[n, C]`."""
    plan = task.plan()
    assert task.claim.piece.index is not None
    window = plan.windows[task.claim.piece.index]
    engine = task.ctx.engine
    assert engine is not None
    first, last = vocoder_view(window, plan.frames, plan.geometry)
    start, stop = output_span(window, plan.frames, plan.extended_samples)
    pieces = windows_of(plan, first, last)
    attempts = _attempts(task, pieces)
    span = MelSpan(
        first_frame=first, total_frames=plan.frames, total_samples=plan.extended_samples, start=start, stop=stop
    )
    with engine.coming("vocode", plan.vocoder):
        mel = read_mel(task.ctx.store, task.job_id, plan, attempts, first, last, near=task.ctx.mels)
        audio = vocode_window(engine, mel, span, halo=plan.halo, model=plan.vocoder)
    key = chunk_key(task.job_id, "vocode", window.index, task.claim.attempt)
    put_array(task.ctx.store, task.own(key), audio[0][:, None] if len(audio) == 1 else np.stack(audio, axis=1))
    label = engine.model_label("vocode", plan.vocoder)
    handed = task.ctx.records.complete(task.job_id, task.claim, model=label, spent=task.seconds())
    if task.ctx.mels:
        read = [chunk_key(task.job_id, "restore", piece.index, attempts[piece.index]) for piece in pieces]
        task.ctx.mels.done(read, window.index)
    return handed


def _attempts(task: Task, windows: list[Window]) -> Mapping[int, int]:
    for window in windows:
        if window.index not in task.claim.mels:
            raise WorkLost(Piece("restore", window.index), None)
    return task.claim.mels
