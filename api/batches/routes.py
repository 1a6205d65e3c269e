"""The routes under `/v1/batches`."""

import time
from typing import Any

from flask import Response, jsonify, request, url_for
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field

from api import cursor
from api.batches import describe, submit
from api.batches.errors import BatchNotFinished, BatchOver
from api.batches.items import page_of_items
from api.batches.lookup import BatchPath, existing
from api.batches.schemas import dump_batch
from api.caller import caller
from api.describe import ANY_ERROR, RETRY_AFTER
from api.http.names import disposition
from api.idempotency import OnceHeader, once
from api.jobs.sent import Sent
from api.services import services
from api.watching.line import Line
from api.watching.prefer import DeleteHeader
from api.watching.wait import time_to_stop
from api.webhooks.schemas import view_delivery
from shared import log
from shared.batches.keys import batch_prefix, cancel_key, errors_key, output_key
from shared.batches.model import OVER, BatchRecord, BatchStatus
from shared.errors import StorageError

PIECE = 256 * 1024
_LOOK_SECONDS = 0.2
_log = log.logger("api")

batches = APIBlueprint("batches", __name__, abp_tags=[describe.BATCHES], abp_responses=ANY_ERROR)


class PageQuery(BaseModel):
    """Which page."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100, description="Most entries on a page.")
    cursor: str | None = Field(None, description="From `next` of the page before.")


@batches.post(
    "/v1/batches",
    summary="Submit a batch",
    openapi_extensions={"requestBody": describe.SUBMIT_BODY},
    responses=describe.SUBMIT_RESPONSES,
)
def create(header: OnceHeader) -> Response:
    """Ask for many jobs at once: as a list (JSONL: the body, a form's `file`, or stored), a prefix, or bit by bit.

    With JSONL as the body, `options` and `metadata` stand in the query, as JSON. A form (`multipart/form-data`) has the
    list as its part `file`, with a file name, and these beside it.
    """

    def serve(sent: Sent) -> Response:
        record = submit.submit(services(), request, sent)
        response = _show(record, 202)
        response.headers["Location"] = url_for("batches.read", batch_id=record.id)
        return response

    return once(header.idempotency_key, serve)


@batches.get("/v1/batches", summary="List batches, youngest first", responses=describe.LIST_RESPONSES)
def listing(query: PageQuery) -> Response:
    """List batches. Follow `next` for more."""
    before = cursor.position(query.cursor)
    found = services().batches.page(caller().owner, before=before, limit=query.limit + 1)
    shown, following = found[: query.limit], None
    if len(found) > query.limit:
        position = (shown[-1].manifest.created_at, shown[-1].id)
        following = url_for("batches.listing", limit=query.limit, cursor=cursor.encode(position))
    return _paged(batches=[dump_batch(one) for one in shown], next=following)


@batches.get("/v1/batches/<batch_id>", summary="Ask for a batch", responses=describe.READ_RESPONSES)
def read(path: BatchPath) -> Response:
    """Tell how far a batch is. `If-None-Match` spares the body while nothing has changed."""
    record = existing(path.batch_id)
    if request.if_none_match.contains_weak(_etag(record)):
        return _marked(Response(status=304), record)
    return _show(record, 200)


@batches.post(
    "/v1/batches/<batch_id>/items",
    summary="Add items to an open batch",
    openapi_extensions={"requestBody": describe.ITEMS_BODY},
    responses=describe.ADD_RESPONSES,
)
def add(path: BatchPath, header: OnceHeader) -> Response:
    """Add items, 5,000 at most at a time: all of them or none. They begin at once."""
    return once(
        header.idempotency_key,
        lambda sent: _show(submit.add(services(), request, sent, existing(path.batch_id)), 202),
    )


@batches.post("/v1/batches/<batch_id>/close", summary="Close an open batch", responses=describe.CLOSE_RESPONSES)
def close(path: BatchPath) -> Response:
    """Say that no more items come: the batch is completed when those that it has are done."""
    return _show(submit.close(services(), existing(path.batch_id)), 202)


@batches.get("/v1/batches/<batch_id>/items", summary="List the items of a batch", responses=describe.ITEMS_RESPONSES)
def items(path: BatchPath, query: PageQuery) -> Response:
    """List items in their order, with the state of their jobs. Follow `next` for more."""
    shown, position = page_of_items(services(), existing(path.batch_id), query.cursor, query.limit)
    args: dict[str, Any] = {"batch_id": path.batch_id, "limit": query.limit, "cursor": position}
    return _paged(items=shown, next=url_for("batches.items", **args) if position else None)


@batches.post("/v1/batches/<batch_id>/cancel", summary="Cancel a batch", responses=describe.CANCEL_RESPONSES)
def cancel(path: BatchPath) -> Response:
    """Stop a batch: what is done stays, unfinished jobs are canceled, both manifests are written."""
    record = existing(path.batch_id)
    if record.status in OVER:
        raise BatchOver(f"The batch is over: {record.status}.")
    return _show(_cancel(record), 202)


@batches.delete("/v1/batches/<batch_id>", summary="Delete a batch", responses=describe.DELETE_RESPONSES)
def delete(path: BatchPath, header: DeleteHeader) -> Response:
    """Forget a batch and its manifests; its jobs stay.

    One that runs is canceled first; what has not stopped within a few seconds is to be deleted again when it is over
    (202).
    """
    to, record = services(), existing(path.batch_id)
    if record.status not in OVER:
        record = _stopped(_cancel(record), header.prefer)
        if record.status not in OVER:
            return _show(record, 202)
    # The record goes last: were we to stop in between, the batch is still there to be deleted again.
    to.store.delete_prefix(batch_prefix(record.id))
    to.batches.remove(record.id)
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


@batches.get(
    "/v1/batches/<batch_id>/output",
    summary="Download the manifest of what succeeded",
    responses=describe.MANIFEST_RESPONSES,
)
def output(path: BatchPath) -> Response:
    """Send a line of JSON for each item that succeeded, in the order in which they ended."""
    record = existing(path.batch_id)
    return _manifest(record, output_key(record.id), "output")


@batches.get(
    "/v1/batches/<batch_id>/errors",
    summary="Download the manifest of what did not succeed",
    responses=describe.MANIFEST_RESPONSES,
)
def errors(path: BatchPath) -> Response:
    """Send a line of JSON for each item that failed or was canceled, with its error."""
    record = existing(path.batch_id)
    return _manifest(record, errors_key(record.id), "errors")


@batches.get(
    "/v1/batches/<batch_id>/deliveries", summary="What is told of a batch", responses=describe.DELIVERIES_RESPONSES
)
def deliveries(path: BatchPath) -> Response:
    """List what receivers were and will be told of the batch, with each attempt."""
    found = services().webhooks.deliveries.of(existing(path.batch_id).id)
    response = jsonify(deliveries=[view_delivery(one).model_dump(mode="json") for one in found])
    response.headers["Cache-Control"] = "no-store"
    return response


def _cancel(record: BatchRecord) -> BatchRecord:
    to = services()
    to.batches.cancel(record.id)
    try:
        to.store.put(cancel_key(record.id), b"")
    except StorageError as error:  # it is for a Redis that is lost before the batch has ended
        _log.warning("that a batch is canceled is known to Redis alone", batch_id=record.id, reason=error.message)
    return existing(record.id)


def _stopped(record: BatchRecord, prefer: str | None) -> BatchRecord:
    """Wait for the end of a batch that is canceled; gives it as it is."""
    line = Line(request.environ)
    with time_to_stop(prefer) as deadline:
        while record.status not in OVER and time.monotonic() < deadline and not line.broken():
            time.sleep(_LOOK_SECONDS)
            record = existing(record.id)
    return record


def _manifest(record: BatchRecord, key: str, name: str) -> Response:
    if record.status not in OVER:
        wait = {"Retry-After": "5"}
        raise BatchNotFinished(f"The batch is {record.status}; its manifests come at its end.", headers=wait)
    store = services().store
    response = Response(mimetype="application/jsonl")
    response.headers["Content-Disposition"] = disposition(f"{record.id}-{name}.jsonl")
    response.headers["Cache-Control"] = "private, no-cache"
    if record.status is BatchStatus.FAILED:  # it had no items
        return response
    info = store.head(key)
    response.set_etag(info.etag)
    response.content_length = info.size
    response.response = store.stream(key, 0, info.size, chunk=PIECE)
    return response


def _show(record: BatchRecord, status: int) -> Response:
    response = jsonify(dump_batch(record))
    response.status_code = status
    return _marked(response, record)


def _marked(response: Response, record: BatchRecord) -> Response:
    response.set_etag(_etag(record))
    response.headers["Cache-Control"] = "no-store"
    if record.status not in OVER:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def _etag(record: BatchRecord) -> str:
    return str(record.version)


def _paged(**body: Any) -> Response:
    response = jsonify(**body)
    response.headers["Cache-Control"] = "no-store"
    if body["next"]:
        response.headers["Link"] = f'<{body["next"]}>; rel="next"'
    return response
