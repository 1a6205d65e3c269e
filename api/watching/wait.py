"""`Prefer: wait=n`: an answer that comes as soon as the job is over, or after n seconds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flask import Response, request

from api.jobs.schemas import is_over
from api.services import services
from api.watching.line import Line
from api.watching.prefer import read_preferences
from shared.errors import QueueUnavailable
from shared.jobs import Job

#: A job that is watched is looked at so often even if nothing is heard of it.
LOOK_SECONDS = 5.0
#: What is deleted while it runs is waited for as long as this, for most of it stops within.
STOP_SECONDS = 5.0
#: So soon is it noticed that a client has hung up.
NOTICE_SECONDS = 1.0


@dataclass(frozen=True)
class Waited:
    """
    A job after the wait that its client asked for.

    Attributes:
        job: as it is now
        wait: seconds for which an answer may have been held back; None if no wait was asked, or none could be had
        respond_async: whether an answer before the end was welcome

    """

    job: Job
    wait: int | None = None
    respond_async: bool = False

    @property
    def in_time(self) -> bool:
        """Whether the job ended while it was waited for."""
        return self.wait is not None and is_over(self.job)

    def mark(self, response: Response) -> Response:
        """Say in an answer which preferences were honoured."""
        applied = ["respond-async"] if self.respond_async and response.status_code == 202 else []
        applied += [f"wait={self.wait}"] if self.wait is not None else []
        if applied:
            response.headers["Preference-Applied"] = ", ".join(applied)
        return response


def waited_for(job: Job, prefer: str | None) -> Waited:
    """Wait for the job as the header Prefer says; at once where too many wait already."""
    wanted = read_preferences(prefer)
    if wanted.wait is None:
        return Waited(job, respond_async=wanted.respond_async)
    seconds = min(wanted.wait, int(services().settings.max_wait_seconds))
    if is_over(job) or not seconds:
        return Waited(job, seconds, wanted.respond_async)
    place = services().places.take()
    if place is None:
        return Waited(job, respond_async=wanted.respond_async)
    with place:
        over = until_over(job, Line(request.environ), deadline=time.monotonic() + seconds)
        return Waited(over, seconds, wanted.respond_async)


@contextmanager
def time_to_stop(prefer: str | None) -> Iterator[float]:
    """Give when to stop waiting for what is being stopped, by the monotonic clock: in a few seconds, or as preferred.

    Where too many wait already, that is now.
    """
    wanted = read_preferences(prefer)
    usual = 0.0 if wanted.respond_async else STOP_SECONDS
    seconds = min(usual if wanted.wait is None else wanted.wait, services().settings.max_wait_seconds)
    place = services().places.take() if seconds else None
    try:
        yield time.monotonic() + (seconds if place else 0.0)
    finally:
        if place:
            place.free()


def until_over(job: Job, line: Line, *, deadline: float) -> Job:
    """Wait until the job is over, by the monotonic clock or its client gives up, or it is deleted; gives it as it is.

    While Redis is away, what was known of it holds.
    """
    to = services()
    with to.hub.watching(job.manifest.id) as watch:
        look_at = 0.0
        while not is_over(job) and (left := deadline - time.monotonic()) > 0:
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + LOOK_SECONDS
                found = _news_of(job)
                if found is None:  # deleted
                    return job
                job = found
                continue
            if watch.wait(min(left, NOTICE_SECONDS)):
                look_at = 0.0
            elif line.broken():
                return job
    return job


def _news_of(job: Job) -> Job | None:
    try:
        return services().records.get(job.manifest.id)
    except QueueUnavailable:  # what was said before still holds: the job is in
        return job
