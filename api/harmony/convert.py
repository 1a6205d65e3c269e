"""A convert request as a job, or several one after another: taken in, waited for, and canceled with its caller."""

import time
import uuid
from dataclasses import dataclass

from flask import Request, url_for

from api.caller import caller
from api.errors import FileEmpty, RequestError, TooManyStreams
from api.harmony.errors import ConvertFailed, ConvertInvalid, ConvertLate, ConvertStopped, ServerStops
from api.harmony.receive import receive
from api.harmony.steps import Step, read_steps
from api.http.access import about_job
from api.jobs.accept import Ticket, accept, forget_objects
from api.jobs.canceling import cancel_job
from api.jobs.schemas import is_over
from api.services import Services
from api.watching.line import Line
from api.watching.wait import until_over
from shared import log
from shared.errors import QueueUnavailable
from shared.jobs import Following, Job, JobInput, JobOptions, Status
from shared.keys import source_key

_log = log.logger("api")

#: Errors of a job whose recording is at fault, by how their codes begin.
_OF_THE_RECORDING = ("audio_", "mel_", "output_not_possible", "model_input_invalid")

_PAUSE_SECONDS = 0.5


@dataclass(frozen=True)
class Converted:
    """
    What is answered.

    Attributes:
        job: the last one, which succeeded
        model: as it was asked for
        stream: whether the bytes themselves were asked for

    """

    job: Job
    model: str
    stream: bool


def convert(to: Services, request: Request) -> Converted:
    """Read a request, have its jobs done, and wait for the end.

    Raises:
        RequestError: if it cannot be done as asked, comes to nothing, or is not done in time.
        QueueUnavailable: if Redis is down.
        StorageError: if storage is.
    """
    place = to.places.take()
    if place is None:
        raise TooManyStreams(
            "As many requests wait as this server lets wait at once; ask again in a moment, or use /v1/jobs.",
            headers={"Retry-After": "1"},
        )
    with place:
        ids = [uuid.uuid4().hex]
        job, steps, stream = _take_in(to, request, ids)
        line = Line(request.environ)
        line.watch_closely()
        try:
            return Converted(_done(to, job, ids, line), steps[-1].model, stream)
        finally:
            line.watch_as_usual()


def _take_in(to: Services, request: Request, ids: list[str]) -> tuple[Job, list[Step], bool]:
    to.admission.check(JobOptions().priority)  # before a large body is taken for nothing
    first = ids[0]
    about_job(first)
    with to.store.writer(source_key(first)) as out:
        asked, size = receive(request, request.stream, out, max_bytes=to.settings.convert_max_bytes)
        steps = read_steps(asked, to.catalog)
        if not size:
            raise FileEmpty("source_audio is empty; send base64 of an audio file.")
        ids += [uuid.uuid4().hex for _ in steps[1:]]
        try:
            out.commit()
        except BaseException:
            forget_objects(to, first)  # it may have arrived all the same
            raise
    following = tuple(Following(id=one, options=step.options) for one, step in zip(ids[1:], steps[1:], strict=True))
    asking = caller()
    ticket = Ticket(first, asking.owner, max_open=asking.max_open, then=following or None)
    source = JobInput(key=source_key(first), filename="audio", bytes=size)
    stream = bool(asked.output_options and asked.output_options.stream)
    return accept(to, ticket, source, steps[0].options), steps, stream


def _done(to: Services, job: Job, ids: list[str], line: Line) -> Job:
    """Wait for all jobs, one after another, and give the last."""
    deadline = time.monotonic() + to.settings.convert_seconds
    for number, job_id in enumerate(ids):
        if number:  # it was made before the one before it succeeded
            job = _found(to, job_id, job, deadline)
            about_job(job_id)
        job = until_over(job, line, deadline=deadline)
        if job.status is not Status.SUCCEEDED:
            raise _why_not(to, job, ids, line, late=time.monotonic() >= deadline)
    return job


def _found(to: Services, job_id: str, before: Job, deadline: float) -> Job:
    while True:
        try:
            found = to.records.get(job_id)
        except QueueUnavailable:
            if time.monotonic() >= deadline:
                raise _late(before) from None
            time.sleep(_PAUSE_SECONDS)
            continue
        if found is None:
            raise ConvertStopped("The job was deleted before it was over.")
        return found


def _why_not(to: Services, job: Job, ids: list[str], line: Line, *, late: bool) -> RequestError:
    if is_over(job):
        return _ended(job)
    if line.stopping():
        return ServerStops(
            f"This server is being stopped. The job {job.manifest.id} {_goes_on(job)}.", headers=_where(job)
        )
    if line.hung_up():
        _cancel(to, ids)
        return ConvertStopped("The caller has hung up, so the job was canceled.")
    return _late(job) if late else ConvertStopped("The job was deleted before it was over.")


def _ended(job: Job) -> RequestError:
    if job.status is Status.CANCELED:
        return ConvertStopped("The job was canceled.")
    if job.status is Status.EXPIRED:
        return ConvertLate(f"The job {job.manifest.id} was not done before its deadline, and will not be.")
    error = job.error
    if error is None:
        return ConvertFailed("The job failed, and no reason is known.")
    if error.code.startswith(_OF_THE_RECORDING):
        return ConvertInvalid(f"source_audio: {error.message}")
    return ConvertFailed(f"The job {job.manifest.id} failed ({error.code}): {error.message}")


def _late(job: Job) -> ConvertLate:
    return ConvertLate(f"The job {job.manifest.id} is not done yet. It {_goes_on(job)}.", headers=_where(job))


def _goes_on(job: Job) -> str:
    following = [one.id for one in job.manifest.then or ()]
    more = f", and the job {following[-1]} with its result" if following else ""
    return f"goes on{more}: ask for it at /v1/jobs/{job.manifest.id}"


def _where(job: Job) -> dict[str, str]:
    return {"Location": url_for("jobs.read", job_id=job.manifest.id), "Retry-After": "5"}


def _cancel(to: Services, ids: list[str]) -> None:
    """Cancel all there are; one that succeeds meanwhile has made the next before, so they are gone through in order."""
    for job_id in ids:
        try:
            cancel_job(to, job_id)
        except QueueUnavailable as error:
            _log.warning("a job whose caller is gone goes on", job_id=job_id, reason=error.message)
