"""The windows that most of the work consists of, to be made ready for and to be measured on."""

from collections.abc import Collection

import numpy as np

from worker.chunks import Geometry, output_span, plan_windows, vocoder_view
from worker.engine.items import RestoreItem, VocodeItem
from worker.models.constants import HOP, N_MELS, padded_length
from worker.models.interface import MelSpan, RestoreCondition


def usual_items(geometry: Geometry, stages: Collection[str]) -> list[RestoreItem | VocodeItem]:
    """The windows of which long recordings mostly consist: one of the restorer, the vocoder's first and inner one."""
    frames = 4 * (geometry.core + geometry.context)
    noise = np.random.default_rng(0).standard_normal(padded_length(geometry.core + 2 * geometry.context))
    items: list[RestoreItem | VocodeItem] = []
    if "restore" in stages:
        items.append(RestoreItem((0.01 * noise).astype(np.float32), RestoreCondition()))
    if "vocode" in stages:
        for window in plan_windows(frames, geometry)[:2]:
            first, last = vocoder_view(window, frames, geometry)
            start, stop = output_span(window, frames, HOP * (frames - 1))
            mel = np.abs(np.resize(noise, (last - first, N_MELS))).astype(np.float32)
            items.append(VocodeItem(mel, MelSpan(first, frames, HOP * (frames - 1), start, stop)))
    return items
