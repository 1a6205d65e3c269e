"""`GET /v1/jobs/{id}/receipt`, and the receipt in a job's document; both are read from storage."""

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from pydantic import ValidationError

from api import describe
from api.errors import ReceiptGone
from api.jobs.lookup import JobPath, existing
from api.jobs.results import why_not
from api.services import Services, services
from shared import log
from shared.errors import ObjectMissing
from shared.jobs import Job, Status
from shared.receipt import Receipt

_log = log.logger("api")

receipts = APIBlueprint("receipts", __name__, abp_tags=[describe.RESULTS], abp_responses=describe.ANY_ERROR)


@receipts.get(
    "/v1/jobs/<job_id>/receipt",
    summary="Read the receipt",
    responses=describe.RECEIPT_RESPONSES,
)
def read_receipt(path: JobPath) -> Response:
    """Tell what came in, what went out, what was done between, and what the output check found."""
    job = existing(path.job_id)
    if job.status is not Status.SUCCEEDED or job.receipt_key is None:
        raise why_not(job, "receipt")
    try:
        data = services().store.read(job.receipt_key)
    except ObjectMissing:
        raise ReceiptGone("There is no receipt, or it was deleted from storage together with the result.") from None
    response = Response(data, mimetype="application/json")
    response.add_etag()
    response.headers["Cache-Control"] = "private, no-cache"
    response.make_conditional(request)
    return response


def receipt_of(to: Services, job: Job) -> Receipt | None:
    """Read a job's receipt; none of a job that has not succeeded (storage is not asked then), or where it is gone.

    Raises:
        StorageError: if storage cannot be used.
    """
    if job.status is not Status.SUCCEEDED or job.receipt_key is None:
        return None
    try:
        return Receipt.model_validate_json(to.store.read(job.receipt_key))
    except ObjectMissing:
        return None
    except ValidationError:
        _log.warning("a receipt cannot be read", job_id=job.manifest.id)
        return None
