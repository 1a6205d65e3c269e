"""Stitch a job: join its windows, give them the asked form, and end the job."""

import hashlib
import tempfile
from collections.abc import Iterator
from math import log10
from pathlib import Path

import numpy as np
import structlog

from shared.formats import OutputPlan
from shared.jobs import JobOutput
from shared.keys import chunk_key, result_key
from shared.receipt import Sound
from shared.records import Kind, Message, Piece
from shared.storage.interface import ObjectInfo
from worker.arrays import Floats, get_array, header_of, raw
from worker.attempts.lost import WorkLost, left_by
from worker.audio.encode import open_encoder
from worker.audio.meter import Meter
from worker.audio.resample import resample_blocks, resampled_length
from worker.chunks import output_span
from worker.following import hand_on, take_back
from worker.mels import read_mel, windows_of
from worker.models.constants import N_MELS, SAMPLE_RATE, frame_count
from worker.plan import Plan
from worker.receipts.receipt import describe_written, put_receipt
from worker.receipts.review import check
from worker.task import Task

log = structlog.get_logger()

#: Frames of mel in memory at once.
_MEL_BLOCK = 4096
#: Samples that are converted at once: at a high rate they become many more.
_BLOCK = 65_536


def stitch(task: Task) -> list[Message] | None:
    """Write the result and its receipt under this attempt's keys and end the job."""
    plan = task.plan()
    output = _join_mel(task, plan) if plan.output is None else _join_audio(task, plan)
    following = hand_on(task, output)
    if task.ctx.records.succeed(task.job_id, task.claim, output):
        return []
    take_back(task, following)
    return None


def _join_audio(task: Task, plan: Plan) -> JobOutput:
    form = plan.output
    assert form is not None
    length = resampled_length(plan.source_samples, plan.source_rate, form.sample_rate)
    filename = f"{plan.filename}-restored.{form.extension}"
    with tempfile.TemporaryDirectory(prefix="vfq-") as folder:
        path = Path(folder, f"result.{form.extension}")
        meter = _encode(task, plan, length, path, gain=1.0)
        gain = _gain(form, meter.peak)
        if gain < 1.0:
            meter = _encode(task, plan, length, path, gain=gain)
        result = describe_written(path, form, meter, filename=filename)
        info = _upload(task, path, form.media_type)
    output = JobOutput(
        format=form.format,
        media_type=form.media_type,
        filename=filename,
        bytes=info.size,
        samples=length,
        sample_rate=form.sample_rate,
        bit_depth=form.bit_depth,
        channels=form.channels,
        gain_db=round(20 * log10(gain), 2),
    )
    return _reviewed(task, plan, result, output)


def _reviewed(task: Task, plan: Plan, result: Sound, output: JobOutput) -> JobOutput:
    """Check the result against its source, write the receipt, and mark the result if someone should listen to it."""
    if plan.source is None:  # it was split before there were receipts
        return output
    found = check(plan.source, result, expected=output.samples)
    put_receipt(task, plan.source, result, output, found)
    if found.needs_review:
        log.warning("result needs review", job_id=task.job_id, reasons=[reason.detail for reason in found.reasons])
    return output.model_copy(update={"sha256": result.sha256, "needs_review": found.needs_review})


def _upload(task: Task, path: Path, media_type: str) -> ObjectInfo:
    key = task.own(result_key(task.job_id, task.claim.attempt))
    return task.ctx.store.upload_file(key, path, content_type=media_type)


def _encode(task: Task, plan: Plan, length: int, path: Path, *, gain: float) -> Meter:
    """Write the result's file; gives what it measures."""
    assert plan.output is not None
    meter = Meter(plan.output.sample_rate, plan.output.channels)
    with path.open("w+b") as file, open_encoder(file, plan=plan.output, frames=length) as encoder:
        for block in _converted(task, plan, length):
            made = block if gain == 1.0 else block * np.float32(gain)
            meter.add(made)
            encoder.write(made)
    return meter


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
    written = _WrittenMel()
    key = task.own(result_key(task.job_id, task.claim.attempt))
    with task.ctx.store.writer(key, content_type="application/x-npy") as out:
        out.write(written.hashed(header_of((plan.channels, frames, N_MELS))))
        for mel in _mels(task, plan, frames):
            out.write(written.measured(mel))
        info = out.commit()
    filename = f"{plan.filename}-restored.npy"
    output = JobOutput(
        format="npy",
        media_type="application/x-npy",
        filename=filename,
        bytes=info.size,
        samples=frames,
        channels=plan.channels,
    )
    result = Sound(
        filename=filename,
        sha256=written.sha256.hexdigest(),
        bytes=info.size,
        format="npy",
        codec="float32",
        sample_rate=SAMPLE_RATE,
        channels=plan.channels,
        frames=written.rows // plan.channels,
        seconds=round(plan.samples / SAMPLE_RATE, 6),
        mel_peak=written.peak,
        not_finite=written.not_finite,
    )
    return _reviewed(task, plan, result, output)


def _mels(task: Task, plan: Plan, frames: int) -> Iterator[Floats]:
    """The file's mel, channel after channel, in blocks `[t, 128]`."""
    attempts = _winners(task, "restore", [window.index for window in windows_of(plan, 0, plan.frames)])
    for channel in range(plan.channels):
        for start in range(0, frames, _MEL_BLOCK):
            task.check()
            stop = min(frames, start + _MEL_BLOCK)
            yield read_mel(task.ctx.store, task.job_id, plan, attempts, start, stop)[channel]


class _WrittenMel:
    """Hashes and measures a mel as it is written."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()
        self.rows = 0
        self.peak = 0.0
        self.not_finite = 0

    def hashed(self, data: bytes | memoryview) -> bytes | memoryview:
        self.sha256.update(data)
        return data

    def measured(self, mel: Floats) -> bytes | memoryview:
        """Give the bytes of rows `[t, 128]`."""
        finite = np.isfinite(mel)
        self.rows += len(mel)
        self.not_finite += int(mel.size - np.count_nonzero(finite))
        self.peak = max(self.peak, float(mel.max(initial=0.0, where=finite)))
        return self.hashed(raw(np.ascontiguousarray(mel, dtype="<f4")))
