"""Stitch a job: join its windows, give them the asked form, and end the job."""

import tempfile
from collections.abc import Iterator
from math import log10
from pathlib import Path

import numpy as np

from shared.formats import OutputPlan
from shared.jobs import JobOutput
from shared.keys import chunk_key, result_key
from shared.records import Kind, Message, Piece
from shared.storage.interface import ObjectInfo
from worker.arrays import Floats, get_array, header_of, raw
from worker.audio.encode import open_encoder
from worker.audio.resample import resample_blocks, resampled_length
from worker.chunks import output_span
from worker.lost import WorkLost, left_by
from worker.mels import read_mel, windows_of
from worker.models.constants import N_MELS, SAMPLE_RATE, frame_count
from worker.plan import Plan
from worker.task import Task

#: Frames of mel in memory at once.
_MEL_BLOCK = 4096
#: Samples that are converted at once: at a high rate they become many more.
_BLOCK = 65_536


def stitch(task: Task) -> list[Message] | None:
    """Write the result under this attempt's key and end the job."""
    plan = task.plan()
    output = _join_mel(task, plan) if plan.output is None else _join_audio(task, plan)
    return [] if task.ctx.records.succeed(task.job_id, task.claim, output) else None


def _join_audio(task: Task, plan: Plan) -> JobOutput:
    form = plan.output
    assert form is not None
    length = resampled_length(plan.source_samples, plan.source_rate, form.sample_rate)
    with tempfile.TemporaryDirectory(prefix="vfq-") as folder:
        path = Path(folder, f"result.{form.extension}")
        gain = _gain(form, _encode(task, plan, length, path, gain=1.0))
        if gain < 1.0:
            _encode(task, plan, length, path, gain=gain)
        info = _upload(task, path, form.media_type)
    return JobOutput(
        format=form.format,
        media_type=form.media_type,
        filename=f"{plan.filename}-restored.{form.extension}",
        bytes=info.size,
        samples=length,
        sample_rate=form.sample_rate,
        bit_depth=form.bit_depth,
        channels=form.channels,
        gain_db=round(20 * log10(gain), 2),
    )


def _upload(task: Task, path: Path, media_type: str) -> ObjectInfo:
    key = task.own(result_key(task.job_id, task.claim.attempt))
    return task.ctx.store.upload_file(key, path, content_type=media_type)


def _encode(task: Task, plan: Plan, length: int, path: Path, *, gain: float) -> float:
    """Write the result's file; gives the peak before the gain."""
    assert plan.output is not None
    peak = 0.0
    with path.open("w+b") as file, open_encoder(file, plan=plan.output, frames=length) as encoder:
        for block in _converted(task, plan, length):
            peak = max(peak, float(block.max(initial=0.0)), -float(block.min(initial=0.0)))
            encoder.write(block if gain == 1.0 else block * np.float32(gain))
    return peak


def _gain(form: OutputPlan, peak: float) -> float:
    """One gain for the whole file, below 1 only where it would clip: the models stay within ±1, resampling may not.

    That is seldom: so it is encoded first, and again where it would have clipped.
    """
    return 1.0 if form.bit_depth == 32 or peak <= 1.0 else 1.0 / peak


def _converted(task: Task, plan: Plan, length: int) -> Iterator[Floats]:
    assert plan.output is not None
    return resample_blocks(
        _samples(task, plan),
        from_rate=SAMPLE_RATE,
        to_rate=plan.output.sample_rate,
        channels=plan.channels,
        total_out=length,
    )


def _samples(task: Task, plan: Plan) -> Iterator[Floats]:
    """The file's samples `[n, C]`, window after window, cut to its length."""
    left = plan.samples
    for index, attempt in _winners(task, "vocode", [window.index for window in plan.windows]).items():
        task.check()
        start, stop = output_span(plan.windows[index], plan.frames, plan.extended_samples)
        with left_by(Piece("vocode", index), attempt):
            key = chunk_key(task.job_id, "vocode", index, attempt)
            block = get_array(task.ctx.store, key, (stop - start, plan.channels))[:left]
        left -= len(block)
        for start in range(0, len(block), _BLOCK):
            yield block[start : start + _BLOCK]


def _winners(task: Task, kind: Kind, indices: list[int]) -> dict[int, int]:
    try:
        attempts = task.ctx.records.winners(task.job_id, [Piece(kind, index) for index in indices])
    except KeyError as missing:
        # All were done when this was handed out: it is being made again, and who asked for that may not have sent it.
        raise WorkLost(Piece.parse(missing.args[0]), None) from None
    return dict(zip(indices, attempts, strict=True))


def _join_mel(task: Task, plan: Plan) -> JobOutput:
    """The result of `restore` alone: `.npy` float32 `[C, T, 128]`, written channel after channel."""
    frames = frame_count(plan.samples)
    attempts = _winners(task, "restore", [window.index for window in windows_of(plan, 0, plan.frames)])
    key = task.own(result_key(task.job_id, task.claim.attempt))
    with task.ctx.store.writer(key, content_type="application/x-npy") as out:
        out.write(header_of((plan.channels, frames, N_MELS)))
        for channel in range(plan.channels):
            for start in range(0, frames, _MEL_BLOCK):
                task.check()
                stop = min(frames, start + _MEL_BLOCK)
                mel = read_mel(task.ctx.store, task.job_id, plan, attempts, start, stop)[channel]
                out.write(raw(np.ascontiguousarray(mel, dtype="<f4")))
        info = out.commit()
    return JobOutput(
        format="npy",
        media_type="application/x-npy",
        filename=f"{plan.filename}-restored.npy",
        bytes=info.size,
        samples=frames,
        channels=plan.channels,
    )
