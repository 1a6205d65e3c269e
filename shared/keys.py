"""Where a job's objects lie in storage. A key that an attempt writes carries the attempt's number."""

from typing import Literal

#: Under which every job has a folder.
JOBS_PREFIX = "jobs/"


def job_prefix(job_id: str) -> str:
    """All that belongs to a job."""
    return f"jobs/{job_id}/"


def manifest_key(job_id: str) -> str:
    """What was asked."""
    return f"jobs/{job_id}/manifest.json"


def ending_key(job_id: str) -> str:
    """How it ended."""
    return f"jobs/{job_id}/end.json"


def source_key(job_id: str) -> str:
    """The recording as it was sent."""
    return f"jobs/{job_id}/source"


def result_key(job_id: str, attempt: int) -> str:
    """The finished file."""
    return f"{results_prefix(job_id)}{attempt}"


def results_prefix(job_id: str) -> str:
    """Results of all attempts; one counts."""
    return f"jobs/{job_id}/result."


def work_prefix(job_id: str) -> str:
    """Objects that live only while the job does."""
    return f"jobs/{job_id}/work/"


def fetched_key(job_id: str, attempt: int) -> str:
    """The recording as an attempt has fetched it from its URL."""
    return f"{fetched_prefix(job_id)}{attempt}"


def fetched_prefix(job_id: str) -> str:
    """What attempts have fetched; each is whole, and stays while the job runs."""
    return f"{work_prefix(job_id)}source."


def fetched_name_key(job_id: str, attempt: int) -> str:
    """What its server calls it, UTF-8; not there if it does not."""
    return f"{work_prefix(job_id)}name.{attempt}"


def pcm_key(job_id: str, attempt: int) -> str:
    """The recording at 44.1 kHz: float32, little-endian, channels interleaved."""
    return f"{work_prefix(job_id)}pcm.{attempt}"


def raw_pcm_key(job_id: str, attempt: int) -> str:
    """The same before mode 1 has limited its band."""
    return f"{work_prefix(job_id)}raw.{attempt}"


def noise_key(job_id: str, attempt: int) -> str:
    """The noise profile of each channel, `.npy` float32 `[C, 1025]`."""
    return f"{work_prefix(job_id)}noise.{attempt}"


def chunk_key(job_id: str, kind: Literal["restore", "vocode"], index: int, attempt: int) -> str:
    """What a window gave: mel `.npy` float32 `[C, t, 128]`, or samples `.npy` float32 `[n, C]`."""
    return f"{work_prefix(job_id)}{kind}/{index}.{attempt}"
