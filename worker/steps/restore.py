"""Restore one window: samples in, clean mel out."""

from shared.keys import chunk_key, noise_key, pcm_key
from shared.records import SPLIT, Message
from worker.arrays import Floats, get_array, put_array
from worker.attempts.lost import left_by
from worker.chosen import find
from worker.chunks import Window, sample_range
from worker.mels import readers_of
from worker.models.constants import N_BINS
from worker.models.errors import ModelError
from worker.models.interface import RestoreCondition
from worker.pcm import read_padded
from worker.plan import Plan, wants_noise
from worker.smaller import restore_window
from worker.task import Task

#: Keeps the seeds of windows and channels of one job apart.
_SEED_STEP = 1_000_003


class NoiseUnknown(ModelError):
    """The restorer goes by the recording's noise, which its split did not measure."""

    code = "noise_unknown"


def restore(task: Task) -> list[Message] | None:
    """Read a window with its context, restore each channel, keep the mel of the core (and its fades)."""
    plan = task.plan()
    window = plan.windows[_index(task)]
    engine = task.ctx.engine
    assert engine is not None
    with engine.coming("restore", plan.restorer):
        with left_by(SPLIT, plan.attempt):
            span = sample_range(window.seen_start, window.seen_stop)
            padded = read_padded(task.ctx.store, pcm_key(task.job_id, plan.attempt), plan, *span)
            profile = _noise_profile(task, plan)
        conditions = _conditions(plan, window, profile)
        mel = restore_window(engine, padded, conditions, window, context=plan.context, model=plan.restorer)
    _hand_over(task, plan, window, mel)
    label = engine.model_label("restore", plan.restorer)
    return task.ctx.records.complete(task.job_id, task.claim, model=label, spent=task.seconds())


def _index(task: Task) -> int:
    assert task.claim.piece.index is not None
    return task.claim.piece.index


def _hand_over(task: Task, plan: Plan, window: Window, mel: Floats) -> None:
    """Keep the mel for the vocoder of this process, and write it for those of others or where there is no room."""
    key = chunk_key(task.job_id, "restore", window.index, task.claim.attempt)
    near = task.ctx.mels if "vocode" in plan.stages else None
    # What had to be made again was missed by someone: now it is written in any case.
    again = task.claim.attempt > 1
    if near and not again and near.hold(key, mel, job_id=task.job_id, readers=readers_of(plan, window)):
        return
    put_array(task.ctx.store, task.own(key), mel)
    if near:
        near.keep(key, mel)


def _noise_profile(task: Task, plan: Plan) -> Floats | None:
    if plan.noise:
        return get_array(task.ctx.store, noise_key(task.job_id, plan.attempt), (plan.channels, N_BINS))
    if wants_noise(find(task.ctx.catalog, "restore", plan.restorer)):
        raise NoiseUnknown(
            "the recording's noise was not measured; give audio workers the same VFQ_RESTORER and VFQ_CONFIG"
        )
    return None


def _conditions(plan: Plan, window: Window, profile: Floats | None) -> list[RestoreCondition]:
    return [
        RestoreCondition(
            mode=plan.mode,
            seed=item_seed(plan.seed, window.index, channel),
            noise_profile=None if profile is None else profile[channel],
        )
        for channel in range(plan.channels)
    ]


def item_seed(seed: int, window: int, channel: int) -> int:
    """Seed of one item of mode 2: the asked one for the first window and channel, others derived from it."""
    return (seed + _SEED_STEP * (window * 8 + channel)) % 2**63
