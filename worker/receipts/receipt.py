"""Makes the receipt of a job: both sides of it, who did what, and the output check."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from shared.formats import OutputPlan, SourceFacts
from shared.jobs import JobOutput, Manifest
from shared.keys import receipt_key
from shared.receipt import Check, Parameters, Receipt, ReceiptModel, Software, Sound, StageSeconds
from shared.records import Effort
from shared.records.view import hashes_of
from shared.version import PACKAGE, running_version
from worker.audio.meter import Meter
from worker.audio.written import read_back
from worker.task import Task


def describe_audio(facts: SourceFacts, meter: Meter, *, filename: str | None, file: tuple[str, int]) -> Sound:
    """Describe a recording that *meter* has heard to its end; *file* is its sha256 and its size in bytes."""
    sha256, size = file
    return Sound(
        filename=filename,
        sha256=sha256,
        bytes=size,
        format=facts.container,
        codec=facts.codec,
        sample_rate=facts.sample_rate,
        bit_depth=facts.bit_depth,
        channels=facts.channels,
        samples=meter.samples,
        seconds=round(meter.samples / facts.sample_rate, 6),
        levels=meter.finish(),
    )


def describe_written(path: Path, form: OutputPlan, meter: Meter, *, filename: str) -> Sound:
    """Describe a result by its finished file; encoders go back to its headers, so it is hashed now."""
    written = read_back(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Sound(
        filename=filename,
        sha256=sha256,
        bytes=path.stat().st_size,
        format=form.format,
        codec=written.codec,
        sample_rate=written.sample_rate,
        bit_depth=written.bit_depth,
        channels=written.channels,
        samples=written.samples,
        seconds=round(written.samples / written.sample_rate, 6),
        levels=meter.finish(),
    )


def put_receipt(task: Task, source: Sound, result: Sound, output: JobOutput, check: Check) -> None:
    """Write the receipt beside the result, under this attempt's key."""
    manifest, efforts = task.manifest(), task.ctx.records.efforts(task.job_id)
    receipt = Receipt(
        job_id=task.job_id,
        created_at=_rfc3339(datetime.fromtimestamp(manifest.created_at, UTC)),
        written_at=_rfc3339(datetime.now(UTC)),
        software=Software(name=PACKAGE, version=running_version()),
        parameters=_parameters(manifest, output),
        source=source,
        result=result,
        models=list(_models(efforts)),
        seconds=_seconds(efforts, stitch=task.seconds()),
        check=check,
    )
    key = task.own(receipt_key(task.job_id, task.claim.attempt))
    task.ctx.store.put(key, receipt.model_dump_json(indent=1).encode(), content_type="application/json")


def _parameters(manifest: Manifest, output: JobOutput) -> Parameters:
    options = manifest.options
    return Parameters(
        stages=list(options.stages),
        mode=options.mode,
        seed=options.seed,
        samples=options.samples,
        output=options.output,
        gain_db=output.gain_db,
    )


def _models(efforts: Iterable[Effort]) -> Iterable[ReceiptModel]:
    for effort in efforts:
        if "model_type" in effort.label and effort.kind in ("restore", "vocode"):
            yield ReceiptModel(
                stage=effort.kind,
                model_type=effort.label["model_type"],
                weights_sha256=hashes_of(effort.label),
                backend=effort.label.get("backend"),
                precision=effort.label.get("precision"),
                device=effort.label.get("device"),
                seconds=round(effort.seconds, 3),
            )


def _seconds(efforts: Iterable[Effort], *, stitch: float) -> StageSeconds:
    spent: dict[str, float] = {"stitch": stitch}
    for effort in efforts:
        spent[effort.kind] = spent.get(effort.kind, 0.0) + effort.seconds
    return StageSeconds(**{kind: round(seconds, 3) for kind, seconds in spent.items()})


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
