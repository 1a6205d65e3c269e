"""What is told, and who is meant by a URL."""

from typing import Literal, get_args
from urllib.parse import urlsplit

JobEvent = Literal["job.started", "job.progress", "job.succeeded", "job.failed", "job.canceled", "job.expired"]
BatchEvent = Literal["batch.completed"]
Event = JobEvent | BatchEvent

#: In the order of a job's life.
JOB_EVENTS: tuple[JobEvent, ...] = get_args(JobEvent)
ALL_EVENTS: tuple[Event, ...] = (*JOB_EVENTS, *get_args(BatchEvent))
#: Of a job's own hook, unless it asks for others.
TERMINAL_EVENTS: tuple[JobEvent, ...] = ("job.succeeded", "job.failed", "job.canceled", "job.expired")
#: Of an endpoint, unless it asks for others.
ENDPOINT_EVENTS: tuple[Event, ...] = (*TERMINAL_EVENTS, "batch.completed")
TEST_EVENT = "webhook.test"
MOST_URL = 2048
#: What a URL is written in: printable ASCII without spaces.
URL_PATTERN = "^[!-~]*$"


def receiver_of(url: str) -> str:
    """Give the host and port that a URL leads to: what is slow or dead together."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "-:0"
    try:
        port = parts.port
    except ValueError:
        port = None
    return f"{parts.hostname or '-'}:{port or (80 if parts.scheme == 'http' else 443)}".lower()


def shown_url(url: str) -> str:
    """Give a URL without what may be secret in it: user, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "-"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def hook(url: str | None, wanted: tuple[Event, ...]) -> str:
    """Write a job's or a batch's own hook as its record has it; '' for none."""
    return f"{receiver_of(url)} {','.join(wanted)} {url}" if url else ""
