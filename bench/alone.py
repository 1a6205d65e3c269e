"""The engine alone: the windows of a recording in memory, one after the other, without queue, storage or files."""

import time
from typing import Any, cast

import numpy as np

from shared.settings import Settings
from shared.storage import ObjectStore
from worker.arrays import Floats
from worker.chunks import Window, output_span, sample_range, vocoder_view
from worker.engine import Engine, RestoreItem, VocodeItem
from worker.models.constants import N_MELS, SAMPLE_RATE
from worker.models.interface import MelSpan, RestoreCondition
from worker.pcm import pcm_bytes, read_padded
from worker.plan import Plan, frames_of


class _InMemory:
    """As much of a store as reading a window needs."""

    def __init__(self, audio: Floats) -> None:
        self._data = pcm_bytes(audio[:, None])

    def read(self, key: str, start: int, stop: int) -> Any:
        del key
        return self._data[start:stop]


def plan_of(samples: int, settings: Settings) -> Plan:
    """Plan a mono recording at 44.1 kHz as a split would."""
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
        core=settings.core_frames,
        context=settings.context_frames,
        halo=settings.halo_frames,
        fade=0,
        filename="bench",
    )


def restore_alone(engine: Engine, audio: Floats, plan: Plan) -> float:
    """Restore and vocode a mono recording; gives the seconds that it took."""
    store = cast(ObjectStore, _InMemory(audio))
    began = time.perf_counter()
    mel = np.zeros((plan.frames, N_MELS), np.float32)
    for window in plan.windows:
        mel[window.mel_start : window.mel_stop] = _restored(engine, store, plan, window)
    for window in plan.windows:
        _vocoded(engine, mel, plan, window)
    return time.perf_counter() - began


def _restored(engine: Engine, store: ObjectStore, plan: Plan, window: Window) -> Floats:
    padded = read_padded(store, "", plan, *sample_range(window.seen_start, window.seen_stop))
    made = engine.restore([RestoreItem(padded[0], RestoreCondition())])[0]
    return made[window.mel_start - window.seen_start : window.mel_stop - window.seen_start]


def _vocoded(engine: Engine, mel: Floats, plan: Plan, window: Window) -> Floats:
    first, last = vocoder_view(window, plan.frames, plan.geometry)
    start, stop = output_span(window, plan.frames, plan.extended_samples)
    span = MelSpan(
        first_frame=first, total_frames=plan.frames, total_samples=plan.extended_samples, start=start, stop=stop
    )
    return engine.vocode([VocodeItem(mel[first:last], span)])[0]
