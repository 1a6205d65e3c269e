"""Windows in smaller pieces, where memory runs out: halves with the same context or halo, and halves of these.

Their samples are those of the whole window, as the windows' are those of the whole file (see docs/models.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import structlog

from worker.arrays import Floats
from worker.chunks import Window
from worker.engine import Engine, MemoryExhausted, RestoreItem, VocodeItem
from worker.models.constants import GRID, HOP, padded_length
from worker.models.interface import MelSpan, RestoreCondition

log = structlog.get_logger()


@dataclass(frozen=True)
class _Part:
    """Frames of the file: seen, and of these kept.

    Attributes:
        margin: frames that must be seen beyond those that are kept.
        grid: what is seen begins at a multiple of so many.
    """

    seen_start: int
    seen_stop: int
    start: int
    stop: int
    margin: int
    grid: int

    def smaller(self) -> list[Self]:
        """Give parts that keep the same together and see less; none if there are none."""
        trimmed = self._trimmed()  # the last window of a file reaches further back than it must
        if trimmed != self:
            return [trimmed]
        middle = -(-(self.start + self.stop) // (2 * GRID)) * GRID
        if not self.start < middle < self.stop:
            return []
        halves = [replace(self, stop=middle)._trimmed(), replace(self, start=middle)._trimmed()]
        return halves if max(map(_length, halves)) < _length(self) else []

    def _trimmed(self) -> Self:
        begin = (self.start - self.margin) // self.grid * self.grid
        return replace(
            self, seen_start=max(self.seen_start, begin), seen_stop=min(self.seen_stop, self.stop + self.margin)
        )


def _length(part: _Part) -> int:
    return part.seen_stop - part.seen_start


def restore_window(
    engine: Engine,
    padded: Floats,
    conditions: Sequence[RestoreCondition],
    window: Window,
    *,
    context: int,
    model: str | None = None,
) -> Floats:
    """Restore the channels of a window, samples `[C, 441·(F−1) + 2048]`; gives the mel that is kept, `[C, t, 128]`.

    Raises:
        MemoryExhausted: if it does not fit in parts either. Mode 2 has none: it goes by a window's own statistics.
    """

    def run(part: _Part) -> Floats:
        first = (part.seen_start - window.seen_start) * HOP
        samples = padded[:, first : first + padded_length(_length(part))]
        try:
            mels = engine.restore([RestoreItem(*pair) for pair in zip(samples, conditions, strict=True)], model)
        except MemoryExhausted:
            parts = [] if any(one.mode == 2 for one in conditions) else part.smaller()
            if not parts:
                raise
            _tell(part)
            return np.concatenate([run(one) for one in parts], axis=1)
        kept = slice(part.start - part.seen_start, part.stop - part.seen_start)
        return np.stack([mel[kept] for mel in mels])

    return run(_Part(window.seen_start, window.seen_stop, window.mel_start, window.mel_stop, context, GRID))


def vocode_window(engine: Engine, mel: Floats, span: MelSpan, *, halo: int, model: str | None = None) -> list[Floats]:
    """Vocode the channels of a window, mel `[C, t, 128]`; gives the samples that the span asks for, of each channel.

    Raises:
        MemoryExhausted: if it does not fit in parts either.
    """

    def run(part: _Part) -> list[Floats]:
        start = span.start if part.start * HOP <= span.start else part.start * HOP
        stop = span.stop if part.stop == last else part.stop * HOP
        asked = replace(span, first_frame=part.seen_start, start=start, stop=stop)
        seen = mel[:, part.seen_start - span.first_frame : part.seen_stop - span.first_frame]
        try:
            return engine.vocode([VocodeItem(channel, asked) for channel in seen], model)
        except MemoryExhausted:
            parts = part.smaller()
            if not parts:
                raise
            _tell(part)
            return [np.concatenate(made) for made in zip(*map(run, parts), strict=True)]

    last = -(-span.stop // HOP)
    return run(_Part(span.first_frame, span.first_frame + mel.shape[1], span.start // HOP, last, halo, 1))


def _tell(part: _Part) -> None:
    log.warning("memory ran out; the window is computed in smaller parts", frames=_length(part))
