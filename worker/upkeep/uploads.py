"""Uploads that have outlived their time: swept with all that has arrived of them."""

from collections.abc import Callable
from datetime import timedelta

import structlog

from shared.keys import UPLOADS_PREFIX, upload_key, upload_prefix
from shared.records import Upload
from shared.storage.folders import folders
from worker.context import Context

log = structlog.get_logger()

#: A job may be copying an upload in the moment in which it expires.
_SETTLE_SECONDS = 300.0
_HOUR = 3600.0


def sweep_expired(ctx: Context, now: float, keep_lead: Callable[[], None]) -> None:
    """Delete the uploads whose time is over, finished or not, with their parts in S3.

    Raises:
        QueueUnavailable, StorageError: if Redis or storage cannot be used; the next look goes on.
    """
    uploads = ctx.retention.uploads
    for upload_id, upload in uploads.expired(now - _SETTLE_SECONDS):
        if upload is not None:
            _end_session(ctx, upload)
        ctx.store.delete_prefix(upload_prefix(upload_id))
        uploads.swept(upload_id, upload)
        log.info("an upload has outlived its time", upload_id=upload_id)
        keep_lead()


def sweep_unknown(ctx: Context, now: float) -> None:
    """Delete what lies under uploads that have no record: they were deleted, or Redis was lost.

    A record is made before anything can arrive, so what has none never gets one.
    """
    for upload_id, found in folders(ctx.store, UPLOADS_PREFIX):
        youngest = max(info.modified.timestamp() for info in found)
        if now - youngest > ctx.settings.orphan_seconds and not ctx.retention.uploads.known([upload_id]):
            ctx.store.delete_prefix(upload_prefix(upload_id))
            log.info("objects without an upload deleted", upload_id=upload_id)


def unfinished_age(ctx: Context, least: float) -> timedelta:
    """Age at which what was begun in storage and never finished counts as dead: no upload lives as long."""
    return timedelta(seconds=max(least, ctx.settings.upload_hours * _HOUR + ctx.settings.orphan_seconds))


def _end_session(ctx: Context, upload: Upload) -> None:
    parts = ctx.store.part_uploads()
    if upload.session and parts is not None:
        parts.abort(upload_key(upload.id), upload.session)
