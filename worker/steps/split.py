"""Split a job: decode its recording once, find out what later steps must know, and cut it into windows."""

from collections.abc import Iterable, Iterator
from pathlib import PurePath

import numpy as np

from shared.formats import default_output
from shared.jobs import JobOptions, Manifest, OutputRequest
from shared.keys import noise_key, pcm_key, raw_pcm_key
from shared.records import Message
from worker.arrays import Floats, put_array
from worker.audio.bandlimit import find_cutoff, limit_blocks
from worker.audio.decode import open_audio
from worker.audio.measure import Analysis, Measured
from worker.audio.meter import Meter
from worker.audio.resample import resample_blocks
from worker.chosen import Chosen, choose, name_of
from worker.chunks import reach
from worker.fetch import fetched
from worker.models.constants import SAMPLE_RATE
from worker.pcm import pcm_bytes, read_blocks
from worker.plan import Plan, frames_of, geometry_for, wants_noise
from worker.receipts.hashing import HashedFile
from worker.receipts.receipt import describe_audio
from worker.steps.cut import cut_mel
from worker.task import Task

#: Blocks between two looks at whether the job was cancelled.
_CHECK_EVERY = 64


def split(task: Task) -> list[Message] | None:
    """Leave the working audio (or the sender's mel, cut) and what must be known of it.

    It is the same each time: a job may be split again when a power cut has taken what was not yet on the disk.
    """
    manifest = fetched(task, task.manifest())
    catalog = task.ctx.catalog
    chosen = choose(catalog, manifest.options, task.plan_before())
    plan = _decode(task, manifest, chosen) if chosen.restorer else cut_mel(task, manifest, chosen)
    return task.ctx.records.complete_split(
        task.job_id,
        task.claim,
        pieces=len(plan.windows),
        reach=reach(plan.geometry),
        window=catalog.in_flight(task.ctx.settings),
        seconds=plan.source_samples / plan.source_rate,
        plan=plan.model_dump_json(),
        spent=task.seconds(),
    )


def _decode(task: Task, manifest: Manifest, chosen: Chosen) -> Plan:
    options, attempt, settings = manifest.options, task.claim.attempt, task.ctx.settings
    name = manifest.input.filename or ""
    with (
        task.ctx.store.open(manifest.input.key) as opened,
        open_audio(file := HashedFile(opened), name=name, max_seconds=settings.max_duration_seconds) as source,
    ):
        source.check_promise()
        output = default_output(source.facts, _audio_form(options))
        # A second at once: a low rate's samples become many more.
        seconds = source.blocks(source.sample_rate)
        meter = Meter(source.sample_rate, source.channels)
        heard = _heard(_watched(task, seconds), meter, mixed_down=output.channels < source.channels)
        working = resample_blocks(heard, from_rate=source.sample_rate, to_rate=SAMPLE_RATE, channels=output.channels)
        noise = wants_noise(chosen.restorer)
        measured = _measure_and_write(task, options.mode, output.channels, working, noise=noise)
        sound = describe_audio(source.facts, meter, filename=manifest.input.filename, file=file.sha256())
    if options.mode == 1:
        _limit_band(task, output.channels, measured)
    if measured.noise_profile is not None:
        put_array(task.ctx.store, task.own(noise_key(task.job_id, attempt)), measured.noise_profile)
    sizes = geometry_for(settings, mode=options.mode, before=task.plan_before())
    return Plan(
        attempt=attempt,
        stages=options.stages,
        mode=options.mode,
        seed=(options.seed + (chosen.restorer.seed if chosen.restorer else 0)) % 2**63,
        channels=output.channels,
        samples=measured.frames,
        frames=frames_of(measured.frames),
        source_rate=source.sample_rate,
        source_samples=meter.samples,
        core=sizes.core,
        context=sizes.context,
        halo=sizes.halo,
        fade=sizes.fade,
        filename=PurePath(name or "recording").stem,
        source_key=manifest.input.key,
        restorer=name_of(chosen.restorer),
        vocoder=name_of(chosen.vocoder),
        noise=measured.noise_profile is not None,
        output=output if "vocode" in options.stages else None,
        source=sound,
    )


def _audio_form(options: JobOptions) -> OutputRequest:
    """What was asked of the audio: of a mel (`npy`), whose length and channels are the recording's, no format."""
    return options.output if "vocode" in options.stages else options.output.model_copy(update={"format": None})


def _measure_and_write(task: Task, mode: int, channels: int, blocks: Iterable[Floats], *, noise: bool) -> Measured:
    key = raw_pcm_key if mode == 1 else pcm_key
    analysis = Analysis(channels, noise=noise)

    def measured() -> Iterator[Floats]:
        for block in blocks:
            analysis.add(block)
            yield block

    _write(task, key(task.job_id, task.claim.attempt), measured())
    return analysis.finish()


def _limit_band(task: Task, channels: int, measured: Measured) -> None:
    """Mode 1: find the cut-off over the whole file, then take everything above it out of the working audio."""
    store, attempt = task.ctx.store, task.claim.attempt
    raw = raw_pcm_key(task.job_id, attempt)
    cutoff = find_cutoff(_watched(task, read_blocks(store, raw, channels)), peak=measured.peak)
    blocks = _watched(task, read_blocks(store, raw, channels))
    limited = limit_blocks(blocks, cutoff=cutoff, frames=measured.frames)
    _write(task, pcm_key(task.job_id, attempt), limited)
    store.delete(raw)


def _write(task: Task, key: str, blocks: Iterable[Floats]) -> None:
    with task.ctx.store.writer(task.own(key), durable=False) as out:
        for block in blocks:
            out.write(pcm_bytes(block))
        out.commit()


def _watched(task: Task, blocks: Iterable[Floats]) -> Iterator[Floats]:
    """Look from time to time whether to go on."""
    for number, block in enumerate(blocks):
        if number % _CHECK_EVERY == 0:
            task.check()
        yield block


def _heard(blocks: Iterable[Floats], meter: Meter, *, mixed_down: bool) -> Iterator[Floats]:
    """Give a decoder's blocks, measured as they are and mixed down if asked."""
    for block in blocks:
        meter.add(block)
        yield block.mean(axis=1, keepdims=True, dtype=np.float32) if mixed_down else block
