"""Restore one window: samples in, clean mel out."""

import numpy as np

from shared.keys import chunk_key, noise_key, pcm_key
from shared.records import Piece
from worker.arrays import Floats, get_array, put_array
from worker.chunks import Window, sample_range
from worker.engine import RestoreItem
from worker.models.interface import RestoreCondition
from worker.pcm import read_padded
from worker.plan import Plan
from worker.task import Task

#: Keeps the seeds of windows and channels of one job apart.
_SEED_STEP = 1_000_003


def restore(task: Task) -> list[Piece] | None:
    """Read a window with its context, restore each channel, keep the mel of the core (and its fades)."""
    plan = task.plan()
    window = plan.windows[_index(task)]
    engine = task.ctx.engine
    assert engine is not None
    padded = read_padded(
        task.ctx.store,
        pcm_key(task.job_id, plan.attempt),
        plan,
        *sample_range(window.seen_start, window.seen_stop),
    )
    conditions = _conditions(task, plan, window)
    mels = engine.restore([RestoreItem(*pair) for pair in zip(padded, conditions, strict=True)])
    kept = _kept(np.stack(mels), window)
    put_array(task.ctx.store, task.own(chunk_key(task.job_id, "restore", window.index, task.claim.attempt)), kept)
    return task.ctx.records.complete(task.job_id, task.claim, model=engine.model_label("restore"))


def _index(task: Task) -> int:
    assert task.claim.piece.index is not None
    return task.claim.piece.index


def _conditions(task: Task, plan: Plan, window: Window) -> list[RestoreCondition]:
    profile = get_array(task.ctx.store, noise_key(task.job_id, plan.attempt))
    return [
        RestoreCondition(
            mode=plan.mode, seed=item_seed(plan.seed, window.index, channel), noise_profile=profile[channel]
        )
        for channel in range(plan.channels)
    ]


def item_seed(seed: int, window: int, channel: int) -> int:
    """Seed of one item of mode 2: the asked one for the first window and channel, others derived from it."""
    return (seed + _SEED_STEP * (window * 8 + channel)) % 2**63


def _kept(mels: Floats, window: Window) -> Floats:
    return mels[:, window.mel_start - window.seen_start : window.mel_stop - window.seen_start]
