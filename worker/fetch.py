"""A recording that a job names by its URL: fetched into storage, once, before it is read."""

import time
from typing import ClassVar

import structlog

from shared.errors import InvalidRequest, ObjectMissing, ServiceError
from shared.jobs import Manifest
from shared.keys import fetched_key, fetched_name_key, fetched_prefix
from shared.names import plain_name
from shared.outgoing import Download, OutgoingError, UrlRefused, UrlTooLarge
from worker.attempts.trouble import NotYet
from worker.task import Task

log = structlog.get_logger()

#: Seconds between two looks at whether the job was cancelled.
_CHECK_SECONDS = 1.0


class InputUrlRefused(InvalidRequest):
    """The recording's URL leads, or redirects, to where this service does not call."""

    code: ClassVar[str] = "input_url_refused"


class InputUrlFailed(ServiceError):
    """The recording's URL was not answered with a recording."""

    code: ClassVar[str] = "input_url_failed"


class InputTooLarge(InvalidRequest):
    """The recording at the URL is larger than VFQ_MAX_UPLOAD_BYTES."""

    code: ClassVar[str] = "input_too_large"


def fetched(task: Task, manifest: Manifest) -> Manifest:
    """Give the manifest with a recording that lies in storage, fetched if the job names a URL.

    What an attempt has fetched stays for later ones while the job runs, so nobody is asked twice for what is here.
    A job that is split again reads what it was first split from.

    Raises:
        InputUrlRefused, InputUrlFailed, InputTooLarge: where another try would give no more.
        NotYet: where it may.
        Stopped: if the job needs no more work.
    """
    url = manifest.input.url
    if url is None:
        return manifest
    key = _fetched_before(task) or _fetch(task, url)
    name = _name(task, key) or manifest.input.filename
    size = task.ctx.store.head(key).size
    return manifest.model_copy(
        update={"input": manifest.input.model_copy(update={"key": key, "filename": name, "bytes": size})}
    )


def _fetched_before(task: Task) -> str | None:
    found = [info.key for info in task.ctx.store.list(fetched_prefix(task.job_id))]
    before = task.plan_before()
    if before and before.source_key in found:
        return before.source_key
    return found[0] if found else None


def _fetch(task: Task, url: str) -> str:
    """Write what the URL gives under this attempt's own key: another attempt may be at it still."""
    settings, store = task.ctx.settings, task.ctx.store
    key = fetched_key(task.job_id, task.claim.attempt)
    # The piece has its own deadline, and decoding is to fit into it too.
    seconds = min(settings.input_url_seconds, settings.piece_deadline_seconds / 2)
    begun = checked = time.monotonic()
    # On the disk before it counts: unlike other working objects it may be nowhere else any more.
    with store.writer(key) as out:

        def sink(piece: bytes) -> None:
            nonlocal checked
            out.write(piece)
            if time.monotonic() - checked > _CHECK_SECONDS:
                task.check()
                checked = time.monotonic()

        try:
            download = task.ctx.outgoing.download(url, sink, max_bytes=settings.max_upload_bytes, seconds=seconds)
        except OutgoingError as error:
            raise _told(error, settings.max_upload_bytes, settings.input_url_attempts) from None
        if not download.size:
            raise InputUrlFailed("The recording's URL was answered with a file without a single byte.")
        _keep_name(task, download)
        task.check()
        out.commit()
    log.info("recording fetched", job_id=task.job_id, bytes=download.size, seconds=round(time.monotonic() - begun, 3))
    return key


def _told(error: OutgoingError, most_bytes: int, attempts: int) -> Exception:
    """Say of a recording's URL what was said of any."""
    if isinstance(error, UrlTooLarge):
        return InputTooLarge(f"The recording at the URL is larger than the {most_bytes} bytes that this service takes.")
    if isinstance(error, UrlRefused) and not error.passing:
        return InputUrlRefused(f"The recording's URL is not called. {error.message}")
    failed = InputUrlFailed(f"The recording could not be fetched from its URL. {error.message}")
    return NotYet(failed, most=attempts - 1) if error.passing and attempts > 1 else failed


def _keep_name(task: Task, download: Download) -> None:
    if download.filename:
        name = plain_name(download.filename).encode()
        task.ctx.store.put(fetched_name_key(task.job_id, task.claim.attempt), name)


def _name(task: Task, key: str) -> str | None:
    attempt = int(key.removeprefix(fetched_prefix(task.job_id)))
    try:
        return task.ctx.store.read(fetched_name_key(task.job_id, attempt)).decode()
    except ObjectMissing:
        return None
