"""The job that an address names."""

import re

from pydantic import BaseModel, Field

from api.caller import caller
from api.errors import JobNotFound, MalformedJobId
from api.http.access import about_job
from api.services import services
from api.taking import derived_id
from shared.jobs import Job

_ID = re.compile(r"[0-9a-f]{32}")
CLIENT_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
CLIENT_ID_RULE = "A job's id is 32 hexadecimal digits; a caller's own name of it 1 to 128 of A-Z a-z 0-9 . _ ~ -."


class JobPath(BaseModel):
    """The part of an address that names a job."""

    job_id: str = Field(description="Id of the job, 32 hexadecimal digits, or the caller's own name of it.")


def existing(job_id: str) -> Job:
    """Read a job that the caller may see, by its id or by the caller's own name of it.

    Raises:
        MalformedJobId: if no job can have this id or name.
        JobNotFound: if none has it that the caller may see.
    """
    if not CLIENT_ID.fullmatch(job_id):
        raise MalformedJobId(f"{CLIENT_ID_RULE} This is none.")
    asking, records = caller(), services().records
    job = records.get(job_id) if _ID.fullmatch(job_id) else None
    if job is None or not asking.sees(job.manifest.owner):
        job = records.named(derived_id(asking.owner, job_id))
    if job is None:
        raise unknown()
    about_job(job.manifest.id)
    return job


def unknown() -> JobNotFound:
    """Say that no job has the id."""
    return JobNotFound("There is no job of this id; it may have been deleted.")
