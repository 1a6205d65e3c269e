"""Brings back from storage the jobs that Redis has lost."""

from collections import Counter

from cli.output import emit, say, tell
from shared.batches.recovery import BatchRecovery
from shared.connections import open_batches, open_endpoints, open_records, open_retention, open_store
from shared.queues import Dispatcher, celery_app
from shared.records import connect
from shared.recovery import Found, Recovery
from shared.settings import Settings, load_settings


def run_recover(*, as_json: bool) -> None:
    """Rebuild the records of all jobs in storage that have none; each unfinished one begins again."""
    counts = recover(load_settings(), as_json=as_json)
    if as_json:
        emit({str(found): counts[found] for found in Found})
        return
    tell(
        f"{counts[Found.BEGUN]} unfinished jobs begin again, {counts[Found.REBUILT]} finished ones have their results "
        f"back; {counts[Found.KNOWN]} were known, {counts[Found.NO_JOB]} were removed or never accepted."
    )


def recover(settings: Settings, *, as_json: bool = False) -> Counter[Found]:
    """Do it, and count what became of the jobs."""
    store, client = open_store(settings), connect(settings.redis_url)
    open_endpoints(settings, store, client).reload()  # first: jobs that begin again owe them what becomes of them
    recovery = Recovery(store, open_records(settings), open_retention(settings), Dispatcher(celery_app(settings)))
    counts: Counter[Found] = Counter()
    for job_id, found in recovery.all():
        counts[found] += 1
        if found in (Found.BEGUN, Found.REBUILT) and not as_json:
            say(f"{job_id}  {'begins again' if found is Found.BEGUN else 'is back'}")
    for batch_id in BatchRecovery(store, open_batches(settings)).all():  # after its jobs
        if not as_json:
            say(f"{batch_id}  batch, goes on")
    return counts
