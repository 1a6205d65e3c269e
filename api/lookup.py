"""The job that an address names."""

import re

from pydantic import BaseModel, Field

from api.access import about_job
from api.errors import JobNotFound, MalformedJobId
from api.services import services
from shared.jobs import Job

_ID = re.compile(r"[0-9a-f]{32}")


class JobPath(BaseModel):
    """The part of an address that names a job."""

    job_id: str = Field(description="Id of the job: 32 hexadecimal digits.")


def existing(job_id: str) -> Job:
    """Read a job.

    Raises:
        MalformedJobId: if no job can have this id.
        JobNotFound: if none has it.
    """
    if not _ID.fullmatch(job_id):
        raise MalformedJobId("An id is 32 hexadecimal digits in lower case; this is none.")
    about_job(job_id)
    job = services().records.get(job_id)
    if job is None:
        raise unknown()
    return job


def unknown() -> JobNotFound:
    """Say that no job has the id."""
    return JobNotFound("There is no job of this id; it may have been deleted.")
