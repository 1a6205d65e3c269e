"""A convert request as a job, or several one after another: taken in, waited for, and canceled with its caller."""

import time
import uuid
from dataclasses import dataclass

from flask import Request, url_for

from api.caller import caller
from api.errors import FileEmpty, RequestError, TooManyStreams
from api.harmony.errors import ConvertFailed, ConvertInvalid, ConvertLate, ConvertStopped, ServerStops
from api.harmony.receive import receive
from api.harmony.schemas import ConvertRequest
from api.harmony.steps import read_steps
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
        job, asked = _take_in(to, request)
        line = Line(request.environ)
        line.watch_closely()
        try:
            stream = bool(asked.output_options and asked.output_options.stream)
            return Converted(_done(to, job, line), asked.model, stream)
        finally:
            line.watch_as_usual()


def _take_in(to: Services, request: Request) -> tuple[Job, ConvertRequest]:
    """Read a request and queue its first job, which names those that follow."""
    to.admission.check(JobOptions().priority)  # before a large body is taken for nothing
    job_id = uuid.uuid4().hex
    about_job(job_id)
    with to.store.writer(source_key(job_id)) as out:
        asked, size = receive(request, request.stream, out, max_bytes=to.settings.convert_max_bytes)
        first, *rest = read_steps(asked, to.catalog)
        if not size:
            raise FileEmpty("source_audio is empty; send base64 of an audio file.")
        try:
            out.commit()
        except BaseException:
            forget_objects(to, job_id)  # it may have arrived all the same
            raise
    following = tuple(Following(id=uuid.uuid4().hex, options=step.options) for step in rest)
    asking = caller()
    ticket = Ticket(job_id, asking.owner, max_open=asking.max_open, then=following or None)
    source = JobInput(key=source_key(job_id), filename="audio", bytes=size)
    return accept(to, ticket, source, first.options), asked


def _done(to: Services, job: Job, line: Line) -> Job:
    """Wait for all jobs, one after another, and give the last."""
    deadline = time.monotonic() + to.settings.convert_seconds
    while True:
        job = until_over(job, line, deadline=deadline)
        if job.status is not Status.SUCCEEDED:
            raise _why_not(to, job, line, late=time.monotonic() >= deadline)
        if not job.manifest.then:
            return job
        following = job.manifest.then[0].id  # it was made before this one succeeded
        about_job(following)
        job = _found(to, following, job, deadline)


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


def _why_not(to: Services, job: Job, line: Line, *, late: bool) -> RequestError:
    if is_over(job):
        return _ended(job)
    if line.stopping():
        return ServerStops(
            f"This server is being stopped. The job {job.manifest.id} {_goes_on(job)}.", headers=_where(job)
        )
    if line.hung_up():
        _cancel(to, job)
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
    more = f", and the job {job.manifest.then[-1].id} with its result" if job.manifest.then else ""
    return f"goes on{more}: ask for it at /v1/jobs/{job.manifest.id}"


def _where(job: Job) -> dict[str, str]:
    return {"Location": url_for("jobs.read", job_id=job.manifest.id), "Retry-After": "5"}


def _cancel(to: Services, job: Job) -> None:
    """Cancel it and all that follow; one that succeeds meanwhile has made the next before, so they go in order."""
    for job_id in (job.manifest.id, *(one.id for one in job.manifest.then or ())):
        try:
            cancel_job(to, job_id)
        except QueueUnavailable as error:
            _log.warning("a job whose caller is gone goes on", job_id=job_id, reason=error.message)
