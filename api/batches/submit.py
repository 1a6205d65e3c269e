"""Taking a batch in: its items go to storage as they come, then what was asked, then its record."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Any, TypeVar

from flask import Request

from api.batches.errors import BatchEmpty, BatchNotFound, BatchNotOpen, CustomIdTaken, InvalidBatch, TooManyBatches
from api.batches.intake import Intake, Placed, from_jsonl, from_list
from api.batches.schemas import BatchHead
from api.caller import caller
from api.errors import (
    BeingTakenIn,
    FieldError,
    InputMissing,
    InputNotAllowed,
    Unprocessable,
    UnsupportedMedia,
    UploadTooLarge,
)
from api.http.access import body_was_read
from api.http.bodies import json_body, pieces, refuse_encoded
from api.http.strictjson import NotJson, parse
from api.jobs.options import InputReference, read_options, validated
from api.jobs.sent import Sent
from api.jobs.submit import named_input
from api.services import Services
from api.taking import taking
from api.webhooks.guard import refuse_bad_url
from shared import log
from shared.batches.keys import added_key, batch_key, batch_prefix, closed_key, draft_key, items_key
from shared.batches.model import BatchManifest, BatchRecord, BatchStatus
from shared.errors import InvalidKey, QueueUnavailable, StorageError
from shared.inputs import allowed_prefixes
from shared.jobs import JobOptions
from shared.storage.keys import check_prefix

#: Of a list of items.
MOST_BYTES = 256 * 1024**2
#: Items that are added to an open batch at a time: Redis looks at their names in one step.
MOST_ADDED = 5000
#: Who adds items waits so long for others who do.
_TURN_SECONDS = 10.0
JSONL = ("application/jsonl", "application/x-ndjson", "application/x-jsonlines", "application/ndjson")

_Checked = TypeVar("_Checked")
_HEAD = tuple(BatchHead.model_fields)
_SOURCES = ("items", "prefix", "input", "open")
_log = log.logger("api")


def submit(to: Services, request: Request, sent: Sent) -> BatchRecord:
    """Read the request, whose body is that of *sent*, and make its batch.

    Raises:
        RequestError: if it cannot be done as asked; nothing of it is left then.
        QueueUnavailable: the same, if Redis is down.
        StorageError: the same for storage.
    """
    refuse_encoded(request)
    to.admission.check_servers()
    batch_id = uuid.uuid4().hex
    try:
        if request.mimetype in JSONL:
            manifest = _from_lines(to, request, sent, batch_id)
        elif request.mimetype == "multipart/form-data":
            manifest = _from_form(to, sent, batch_id)
        elif request.mimetype == "application/json":
            manifest = _from_json(to, sent, batch_id)
        else:
            raise UnsupportedMedia(
                "Send application/jsonl with an item a line, multipart/form-data with such a file, or application/json."
            )
    except BaseException:
        _forget(to, batch_id)
        raise
    return _accept(to, manifest)


def add(to: Services, request: Request, sent: Sent, batch: BatchRecord) -> BatchRecord:
    """Add items to an open batch; all of them or none.

    Raises:
        RequestError, QueueUnavailable, StorageError: if it cannot be done.
    """
    refuse_encoded(request)
    placed: Iterator[Placed]
    if request.mimetype in JSONL:
        placed = from_jsonl(_body(sent.stream), to.settings)
    elif request.mimetype == "application/json":
        body = json_body(sent.stream)
        if unknown := body.keys() - {"items"}:
            raise Unprocessable.of(*(FieldError(f"#/{name}", "there is no field of this name") for name in unknown))
        placed = from_list(body.get("items"))
    else:
        raise UnsupportedMedia("Send application/jsonl with an item a line, or application/json with `items`.")
    draft = added_key(batch.id, uuid.uuid4().hex)
    intake = Intake(to.settings, to.catalog, batch.manifest.options, most=min(MOST_ADDED, to.settings.max_batch_items))
    try:
        _write(to, draft, intake, placed)  # before it is anyone's turn: a client may be slow
        with taking(batch.id, wait=_TURN_SECONDS):
            return _add(to, batch.id, draft, intake)
    finally:
        with suppress(StorageError):
            to.store.delete(draft)


def close(to: Services, batch: BatchRecord) -> BatchRecord:
    """Let no more items come to an open batch; one that is closed already stays as it is.

    Raises:
        BatchEmpty: if it has no items.
        BatchNotOpen: if it is being stopped, or over.
    """
    if batch.status is BatchStatus.OPEN:
        if not batch.counts.total:
            raise BatchEmpty("There is no item in it; add some, or cancel it.")
        to.store.put(closed_key(batch.id), b"")
        to.batches.close(batch.id)
    elif batch.status is not BatchStatus.PROCESSING:
        raise _not_open(batch.status)
    return _again(to, batch.id)


def _add(to: Services, batch_id: str, draft: str, intake: Intake) -> BatchRecord:
    batch = _again(to, batch_id)
    if batch.status is not BatchStatus.OPEN:
        raise _not_open(batch.status)
    first, most = batch.counts.total, to.settings.max_batch_items
    if first + len(intake.names) > most:
        detail = f"is one more than the {most} items that there may be"
        raise InvalidBatch.of(FieldError(intake.places[max(0, most - first)], detail))
    # It may lie there until it counts: nobody reads beyond the number that Redis has.
    to.store.copy(draft, items_key(batch_id, first))
    word = to.batches.grow(batch_id, first, intake.names)
    if word == "grown":
        return _again(to, batch_id)
    if isinstance(word, list):
        detail = "is the name of another item of the batch"
        raise CustomIdTaken.of(*(FieldError(f"{intake.places[index]}/custom_id", detail) for index in word))
    if word == "moved":
        raise BeingTakenIn(
            "Other items of this batch were taken in meanwhile; ask again.", headers={"Retry-After": "1"}
        )
    raise _not_open(_again(to, batch_id).status)


def _from_lines(to: Services, request: Request, sent: Sent, batch_id: str) -> BatchManifest:
    args = request.args.to_dict()
    head = _head(to, {name: _json_text(name, text) for name, text in args.items()})
    return _with_items(to, head, batch_id, from_jsonl(_body(sent.stream), to.settings))


def _from_form(to: Services, sent: Sent, batch_id: str) -> BatchManifest:
    with to.store.writer(draft_key(batch_id)) as out:
        upload = sent.receive(out, max_bytes=MOST_BYTES)
        body_was_read()
        fields: dict[str, Any] = {}
        for name, text in upload.fields:
            if name in fields:
                raise Unprocessable.of(FieldError(f"#/{name}", "is given twice"))
            fields |= {name: _json_text(name, text)} if text.strip() else {}
        head = _head(to, fields)
        out.commit()
    try:
        return _with_items(to, head, batch_id, from_jsonl(to.store.stream(draft_key(batch_id)), to.settings))
    finally:
        with suppress(StorageError):
            to.store.delete(draft_key(batch_id))


def _from_json(to: Services, sent: Sent, batch_id: str) -> BatchManifest:
    body = json_body(sent.stream)
    given = [name for name in _SOURCES if _says(name, body.get(name))]
    if len(given) != 1:
        raise Unprocessable.of(FieldError("#", f"must have one of {', '.join(_SOURCES)}"))
    head = _head(to, {name: value for name, value in body.items() if name not in _SOURCES})
    value = body[given[0]]
    if given == ["items"]:
        return _with_items(to, head, batch_id, from_list(value))
    if given == ["prefix"]:
        return _manifest(to, head, batch_id, prefix=_prefix(to, value))
    if given == ["open"]:
        if value is not True:
            raise Unprocessable.of(FieldError("#/open", "must be true or false"))
        return _manifest(to, head, batch_id, open=True)
    named = _at("input", lambda: validated(value, model=InputReference))
    if named.key is None:
        raise InputNotAllowed("A list of items is read from storage.", [FieldError("#/input", "must name a `key`")])
    source = named_input(to, named, batch_id)
    if (source.bytes or 0) > MOST_BYTES:
        raise _list_too_large()
    return _with_items(to, head, batch_id, from_jsonl(to.store.stream(source.key), to.settings))


def _says(name: str, value: object) -> bool:
    return value is not None and not (name == "open" and value is False)


def _with_items(to: Services, head: BatchHead, batch_id: str, placed: Iterator[Placed]) -> BatchManifest:
    intake = Intake(to.settings, to.catalog, head.options, most=to.settings.max_batch_items)
    _write(to, items_key(batch_id, 0), intake, placed)
    return _manifest(to, head, batch_id, total=len(intake.names))


def _write(to: Services, key: str, intake: Intake, placed: Iterator[Placed]) -> None:
    with to.store.writer(key, content_type="application/jsonl") as out:
        for line in intake.lines(placed):
            out.write(line)
        out.commit()


def _manifest(to: Services, head: BatchHead, batch_id: str, **more: Any) -> BatchManifest:
    asking = caller()
    return BatchManifest(
        id=batch_id,
        created_at=round(to.records.now(), 6),
        owner=asking.owner,
        max_open=asking.max_open,
        **head.model_dump(),
        **more,
    )


def _accept(to: Services, manifest: BatchManifest) -> BatchRecord:
    text, most = manifest.model_dump_json(), to.settings.max_open_batches
    try:
        to.store.put(batch_key(manifest.id), text.encode(), content_type="application/json")
        word = to.batches.create(manifest, most_open=most)
    except QueueUnavailable:
        # It may have been made: then its items must be there. If not, they are no batch without this object.
        with suppress(StorageError):
            to.store.delete(batch_key(manifest.id))
        raise
    except BaseException:
        _forget(to, manifest.id)
        raise
    if word == "full":
        _forget(to, manifest.id)
        raise TooManyBatches(
            f"{most} batches of this key are not over, as many as it may have; send this one when some are.",
            headers={"Retry-After": "60"},
        )
    return _again(to, manifest.id)


def _again(to: Services, batch_id: str) -> BatchRecord:
    record = to.batches.get(batch_id)
    if record is None:
        raise BatchNotFound("There is no batch of this id; it may have been deleted.")
    return record


def _forget(to: Services, batch_id: str) -> None:
    try:
        to.store.delete_prefix(batch_prefix(batch_id))
    except StorageError as error:
        _log.warning("objects of a refused batch stay in storage", batch_id=batch_id, reason=error.message)


def _head(to: Services, given: dict[str, Any]) -> BatchHead:
    """Check what is asked of all items together: a fault here would be one of every item."""
    head = validated({name: value for name, value in given.items() if value is not None}, model=BatchHead)
    _at("options", lambda: read_options({**head.options}, to.settings, to.catalog, model=JobOptions))
    read_options({"metadata": head.metadata}, to.settings, to.catalog, model=JobOptions)
    refuse_bad_url(head.webhook, to.settings, "#/webhook")
    return head


def _at(field: str, check: Callable[[], _Checked]) -> _Checked:
    """Check what stands in a field of the request: faults are told with their place in the whole.

    Raises:
        Unprocessable: with them.
    """
    try:
        return check()
    except Unprocessable as error:
        raise type(error).of(
            *(FieldError(f"#/{field}{fault.pointer[1:]}", fault.detail) for fault in error.errors)
        ) from None


def _prefix(to: Services, prefix: object) -> str:
    allowed = allowed_prefixes(to.settings)
    place = "#/prefix"
    if not isinstance(prefix, str):
        raise Unprocessable.of(FieldError(place, "must be a text"))
    try:
        check_prefix(prefix)
    except InvalidKey as error:
        raise InputNotAllowed("This is no prefix of keys.", [FieldError(place, "is no prefix of keys")]) from error
    if not prefix.startswith(allowed):
        detail = f"is not under a prefix from which this service takes recordings ({', '.join(allowed) or 'none'})"
        raise InputNotAllowed(f"The prefix {detail}.", [FieldError(place, detail)])
    if next(to.store.list(prefix, limit=1), None) is None:
        raise InputMissing("No object lies under the prefix.", [FieldError(place, "names no object")])
    return prefix


def _json_text(name: str, text: str) -> Any:
    """Read what a form or a query holds as JSON; an address stands there as it is."""
    if name == "webhook" or name not in _HEAD:
        return text
    if name == "webhook_events_filter" and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",")]
    try:
        return parse(text)
    except NotJson as error:
        raise Unprocessable.of(FieldError(f"#/{name}", f"is not JSON: {error}")) from None


def _body(stream: IO[bytes]) -> Iterator[bytes]:
    """Read a list of items as it comes.

    Raises:
        UploadTooLarge: if it is larger than any list can be.
    """
    size = 0
    for piece in pieces(stream):
        size += len(piece)
        if size > MOST_BYTES:
            raise _list_too_large()
        yield piece
    body_was_read()


def _list_too_large() -> UploadTooLarge:
    return UploadTooLarge(f"A list of items may have {MOST_BYTES} bytes.")


def _not_open(status: BatchStatus) -> BatchNotOpen:
    return BatchNotOpen(f"The batch is {status}: no items can be added.")
