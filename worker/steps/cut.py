"""Split for `vocode` alone: check the mel that was sent and cut it into the pieces that a restorer would leave."""

from math import prod
from pathlib import PurePath

import numpy as np

from shared.formats import SourceFacts, default_output
from shared.jobs import Manifest
from shared.keys import chunk_key
from shared.receipt import Sound
from worker.arrays import ArrayFormatError, ArrayHeader, Floats, put_array, read_header
from worker.audio.errors import AudioTooLong
from worker.chosen import Chosen, name_of
from worker.models.constants import HOP, N_MELS, SAMPLE_RATE, frame_count
from worker.plan import Plan, geometry_for
from worker.receipts.hashing import PassingHash
from worker.task import Task

_MAX_CHANNELS = 8
_HIGHEST = 1e12
"""Full scale makes magnitudes of some hundreds, and decoders let 120 dB above it pass; vocoders square them."""


class MelError(ArrayFormatError):
    """The mel that was sent cannot be vocoded."""

    code = "mel_invalid"


def cut_mel(task: Task, manifest: Manifest, chosen: Chosen) -> Plan:
    """Check an `.npy` of a mel, `[T, 128]`, `[C, T, 128]` or `[C, 1, T, 128]`, and write it in pieces.

    Raises:
        ArrayFormatError: if it is no such array, or holds what no magnitude can be.
    """
    settings, options = task.ctx.settings, manifest.options
    header = read_header(task.ctx.store, manifest.input.key)
    channels, frames = mel_shape(header)
    if frames > settings.max_duration_seconds * SAMPLE_RATE / HOP + 1:
        raise AudioTooLong(f"the mel is longer than the {settings.max_duration_seconds:g} s that this service takes")
    samples = _samples(frames, options.samples)
    asked = options.output
    facts = SourceFacts(container="npy", codec="mel", sample_rate=SAMPLE_RATE, channels=channels)
    output = default_output(facts, asked.model_copy(update={"format": asked.format or "wav"}))
    sizes = geometry_for(settings, mode=0, before=task.plan_before())
    if output.channels != channels:
        raise MelError("a mel cannot be mixed down; send one channel, or leave output.channels out")
    plan = Plan(
        attempt=task.claim.attempt,
        stages=options.stages,
        mode=0,
        seed=0,
        channels=channels,
        samples=samples,
        frames=frames,
        source_rate=SAMPLE_RATE,
        source_samples=samples,
        core=sizes.core,
        context=sizes.context,
        halo=sizes.halo,
        fade=0,
        filename=PurePath(manifest.input.filename or "mel").stem,
        source_key=manifest.input.key,
        restorer=name_of(chosen.restorer),
        vocoder=name_of(chosen.vocoder),
        output=output,
    )
    measured = _Measured(task, manifest.input.key)
    measured.read(0, header.offset)
    _write_pieces(task, measured, header, plan)
    return plan.model_copy(update={"source": measured.sound(header, plan, filename=manifest.input.filename)})


def mel_shape(header: ArrayHeader) -> tuple[int, int]:
    """Give channels and frames of a mel's array. Raises `MelError` where it is none."""
    shape = header.shape if len(header.shape) > 2 else (1, *header.shape)
    if len(shape) == 4 and shape[1] == 1:  # as a restorer gives it, `[B, 1, T, 128]`
        shape = shape[0], *shape[2:]
    if len(shape) != 3 or shape[2] != N_MELS or not 1 <= shape[0] <= _MAX_CHANNELS or shape[1] < 1:
        raise MelError(
            f"the array's shape is {list(header.shape)}; "
            f"a mel is [T, {N_MELS}], [C, T, {N_MELS}] or [C, 1, T, {N_MELS}], "
            f"with 1 to {_MAX_CHANNELS} channels and at least one frame"
        )
    return shape[0], shape[1]


def _samples(frames: int, asked: int | None) -> int:
    samples = asked if asked is not None else HOP * (frames - 1)
    if samples < 1 or frame_count(samples) != frames:
        raise MelError(
            f"{samples} samples do not belong to a mel of {frames} frames; "
            f"samples must lie between {max(1, HOP * (frames - 1))} and {HOP * frames - 1}"
        )
    return samples


def _write_pieces(task: Task, mel: "_Measured", header: ArrayHeader, plan: Plan) -> None:
    for window in plan.windows:
        task.check()
        piece = _read_rows(mel, header, plan, window.mel_start, window.mel_stop)
        if not np.isfinite(piece).all() or (piece < 0).any():
            raise MelError("the mel holds NaN, infinite or negative numbers; magnitudes are finite and not negative")
        if (piece > _HIGHEST).any():
            raise MelError(f"the mel holds magnitudes above {_HIGHEST:g}, which no recording has")
        mel.peak = max(mel.peak, float(piece.max(initial=0.0)))
        put_array(task.ctx.store, task.own(chunk_key(task.job_id, "restore", window.index, plan.attempt)), piece)


def _read_rows(mel: "_Measured", header: ArrayHeader, plan: Plan, start: int, stop: int) -> Floats:
    row = N_MELS * header.dtype.itemsize
    parts = []
    for channel in range(plan.channels):
        first = header.offset + (channel * plan.frames + start) * row
        data = mel.read(first, first + (stop - start) * row)
        parts.append(np.frombuffer(data, dtype=header.dtype).reshape(-1, N_MELS))
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        return np.stack(parts).astype(np.float32)


class _Measured:
    """The mel that was sent, hashed as it is read; of several channels all but the first are read once more for it."""

    def __init__(self, task: Task, key: str) -> None:
        self.peak = 0.0
        self._store = task.ctx.store
        self._key = key
        self._hash = PassingHash()

    def read(self, start: int, stop: int) -> bytes:
        """Read bytes [start, stop)."""
        data = self._store.read(self._key, start, stop)
        self._hash.saw(start, data)
        return data

    def sound(self, header: ArrayHeader, plan: Plan, *, filename: str | None) -> Sound:
        """Describe it for the receipt."""
        size = header.offset + prod(header.shape) * header.dtype.itemsize
        return Sound(
            filename=filename,
            sha256=self._hash.finish(self._read_rest, size),
            bytes=size,
            format="npy",
            codec=header.dtype.name,
            sample_rate=SAMPLE_RATE,
            channels=plan.channels,
            frames=plan.frames,
            seconds=round(plan.samples / SAMPLE_RATE, 6),
            mel_peak=self.peak,
        )

    def _read_rest(self, start: int, stop: int) -> bytes:
        return self._store.read(self._key, start, stop)
