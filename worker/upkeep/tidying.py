"""Objects of a job that is over: how it ended is written beside them, and what only its workers needed goes."""

import structlog

from shared.errors import QueueUnavailable, StorageError
from shared.keys import ending_key, receipt_key, receipts_prefix, result_key, results_prefix, work_prefix
from worker.context import Context

log = structlog.get_logger()

#: Leases after which no worker writes any more that does not know that its work is in vain.
SETTLED_LEASES = 2.0


def tidy(ctx: Context, job_id: str) -> None:
    """Tidy a job now, if it can be; if not, the sweeper will."""
    try:
        tidy_objects(ctx, job_id)
    except (StorageError, QueueUnavailable) as error:
        log.warning("objects are tidied later", job_id=job_id, reason=error.message)


def tidy_objects(ctx: Context, job_id: str) -> None:
    """Write how a job ended, delete its working objects, and of its results and receipts all but the one that counts.

    Raises:
        StorageError, QueueUnavailable: if something of it could not be done; it may be done again.
    """
    ending = ctx.records.ending(job_id)
    if ending is None:
        return
    text = ending.model_dump_json(exclude_none=True)
    # A power cut may take it: then the job is done again, if Redis is lost too.
    ctx.store.put(ending_key(job_id), text.encode(), content_type="application/json", durable=False)
    ctx.store.delete_prefix(work_prefix(job_id))
    counts = ending.result
    kept = () if counts is None else (result_key(job_id, counts), receipt_key(job_id, counts))
    for prefix in (results_prefix(job_id), receipts_prefix(job_id)):
        for one in ctx.store.list(prefix):
            if one.key not in kept:
                ctx.store.delete(one.key)
    ctx.retention.tidied(job_id, settle=SETTLED_LEASES * ctx.settings.lease_seconds)
