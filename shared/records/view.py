"""How a record reads: the fields of a job's hash as a `Job`."""

import json
from collections.abc import Mapping

from shared.jobs import TERMINAL, Ending, Job, JobError, JobModel, JobOutput, Manifest, Progress, Stage, Status
from shared.keys import result_key

#: Share of the work that each step is, in percent; roughly their time with VoiceFixer on a CPU.
_SHARES = {"split": 4.0, "restore": 14.0, "vocode": 78.0, "stitch": 4.0}


def read_job(
    fields: Mapping[str, str], manifest: str, ending: str | None, rank: int | None, *, labels: Mapping[str, str]
) -> Job:
    """Build the job that a record tells of; *labels* has those of the models under the numbers that records give."""
    status = Status(fields["state"])
    end = json.loads(ending) if ending else {}
    asked = Manifest.model_validate_json(manifest)
    return Job(
        manifest=asked,
        status=status,
        version=int(fields["version"]),
        event=_event(fields.get("event")),
        started_at=_time(fields, "started"),
        completed_at=_time(fields, "ended"),
        progress=_progress(fields, status, asked.options.stages),
        queue_position=rank + 1 if rank is not None and status is Status.QUEUED else None,
        models=[_model(stage, label) for stage in asked.options.stages if (label := _label(fields, stage, labels))],
        result_key=result_key(asked.id, int(fields["result"])) if "result" in fields else None,
        output=JobOutput.model_validate(end["output"]) if "output" in end else None,
        error=JobError.model_validate(end["error"]) if "error" in end else None,
    )


def read_ending(fields: Mapping[str, str], ending: str | None, *, labels: Mapping[str, str]) -> Ending | None:
    """Tell how a job ended, as its record has it; None if it is not over."""
    status = Status(fields["state"])
    if status not in TERMINAL:
        return None
    end = json.loads(ending) if ending else {}
    return Ending(
        status=status,
        started_at=_time(fields, "started"),
        completed_at=float(fields["ended"]),
        result=int(fields["result"]) if "result" in fields else None,
        seconds=float(fields["seconds"]) if "seconds" in fields else None,
        models={stage: label for stage in ("restore", "vocode") if (label := _label(fields, stage, labels))},
        output=end.get("output"),
        error=end.get("error"),
    )


def _event(text: str | None) -> str | None:
    return text if text is None or "-" in text else f"{text}-0"


def _time(fields: Mapping[str, str], name: str) -> float | None:
    return float(fields[name]) if name in fields else None


def _label(fields: Mapping[str, str], stage: str, labels: Mapping[str, str]) -> str | None:
    number = fields.get(f"{stage}_model")
    return labels.get(f"n:{number}") if number else None


def _model(stage: Stage, text: str) -> JobModel:
    """A worker writes what it knows: type, weights (or `-`), backend, precision, device."""
    names = ("model_type", "weights", "backend", "precision", "device")
    known = {name: word for name, word in zip(names, text.split(), strict=False) if word != "-"}
    return JobModel.model_validate({"stage": stage, **known})


def _progress(fields: Mapping[str, str], status: Status, stages: tuple[Stage, ...]) -> Progress:
    total = float(fields["seconds"]) if "seconds" in fields else None
    if status is Status.SUCCEEDED:
        return Progress(percent=100.0, stage="done", done_seconds=total or 0.0, total_seconds=total)
    if total is None or "pieces" not in fields:  # not split yet, or rebuilt after its end
        return Progress(percent=0.0, stage="split", done_seconds=0.0, total_seconds=total)
    pieces = int(fields["pieces"])
    done = {stage: int(fields.get(f"{stage}_done", 0)) / pieces for stage in stages}
    work = sum(_SHARES[stage] for stage in stages)
    share = sum(_SHARES[stage] * done[stage] for stage in stages) / work
    percent = _SHARES["split"] + (100 - _SHARES["split"] - _SHARES["stitch"]) * share
    unfinished = [stage for stage in stages if done[stage] < 1]
    return Progress(
        percent=round(percent, 1),
        stage=unfinished[0] if unfinished else "stitch",
        done_seconds=round(done[stages[-1]] * total, 3),
        total_seconds=round(total, 3),
    )
