"""Items as they come, one after the other: what is wrong with the list refuses it, what is wrong with one fails it."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from api.batches.errors import CustomIdTaken, InvalidBatch
from api.errors import MOST_NAMED, FieldError, RequestError, Unprocessable
from api.http.strictjson import NotJson, parse
from api.jobs.options import JobRequest, read_options
from shared.batches.items import LineTooLong, lines_of
from shared.batches.model import MAX_CUSTOM_ID, Item, ItemFault
from shared.batches.names import digest
from shared.batches.options import merged
from shared.catalog import Catalog
from shared.jobs import JobOptions
from shared.outgoing import UrlRefused, read_url
from shared.settings import Settings
from shared.webhooks.events import receiver_of

#: Beside the metadata, the longest line that an item can need.
_LINE_BYTES = 64 * 1024
_HOOK = ("webhook", "webhook_events_filter")
_HOOKS_KEPT = 1000

#: A place in the request, and the item that stands there.
Placed = tuple[str, Any]


class Intake:
    """Reads items and checks them.

    Attributes:
        names: digests of the custom_ids so far, in their order.
    """

    def __init__(self, settings: Settings, catalog: Catalog, common: dict[str, Any], *, most: int) -> None:
        """Take at most so many items, which share the options *common*."""
        self._settings = settings
        self._catalog = catalog
        self._common = common
        self._most = most
        self._faults: list[FieldError] = []
        self._only_names = True
        self._seen: set[str] = set()
        self._hooks: dict[str, Unprocessable | None] = {}
        self.names: list[str] = []
        self.places: list[str] = []

    def lines(self, placed: Iterable[Placed]) -> Iterator[bytes]:
        """Give items as lines to be kept.

        Raises:
            InvalidBatch: at the end, or when there is enough to tell, if the list cannot be taken.
            CustomIdTaken: the same, if nothing else is wrong with it than that names stand twice.
        """
        for place, raw in placed:
            if len(self.names) >= self._most:
                raise InvalidBatch.of(FieldError(place, f"is one more than the {self._most} items that there may be"))
            item = self._item(place, raw)
            if item is not None and not self._faults:
                yield item.model_dump_json(exclude_defaults=True).encode() + b"\n"
            if len(self._faults) >= MOST_NAMED:
                break
        if self._faults:
            raise (CustomIdTaken if self._only_names else InvalidBatch).of(*self._faults)
        if not self.names:
            raise InvalidBatch("There is no item in it.", [FieldError("#", "has no items")])

    def _item(self, place: str, raw: Any) -> Item | None:
        if isinstance(raw, NotJson):
            self._bad(place, str(raw))
            return None
        if not isinstance(raw, dict):
            self._bad(place, "is no JSON object")
            return None
        fields = dict(raw)
        custom_id = fields.pop("custom_id", None)
        if not isinstance(custom_id, str) or not 0 < len(custom_id) <= MAX_CUSTOM_ID:
            self._bad(f"{place}/custom_id", f"must be a text of 1 to {MAX_CUSTOM_ID} characters")
            return None
        name = digest(custom_id)
        if name in self._seen:
            self._faults.append(FieldError(f"{place}/custom_id", f"stands twice in the batch: {custom_id[:80]!a}"))
            return None
        self._seen.add(name)
        self.names.append(name)
        self.places.append(place)
        return self._checked(custom_id, fields)

    def _checked(self, custom_id: str, fields: dict[str, Any]) -> Item:
        """Look whether it could be a job; whether its recording is there is seen when its turn comes."""
        named = fields.pop("input", None)
        try:
            options = _flat(fields)
            request = {**merged(self._common, options), **({} if named is None else {"input": named})}
            self._check_hook({name: request.pop(name) for name in _HOOK if name in request})
            asked = read_options(request, self._settings, self._catalog, model=JobRequest)
            if asked.input.url is not None:
                read_url(asked.input.url)
        except (RequestError, UrlRefused) as error:
            return Item(custom_id=custom_id, fault=ItemFault(code=error.code, message=error.message))
        return Item(custom_id=custom_id, input=asked.input.model_dump(exclude_none=True), options=options)

    def _check_hook(self, asked: dict[str, Any]) -> None:
        """Check where a job's end is told: once for all items that ask for the same, for its name is looked up."""
        url = asked.get("webhook")
        if isinstance(url, str):
            read_url(url)
        # What a host's name resolves to is the same for all its addresses.
        key = json.dumps({**asked, "webhook": receiver_of(url)} if isinstance(url, str) else asked, sort_keys=True)
        if key not in self._hooks:
            if len(self._hooks) >= _HOOKS_KEPT:
                self._hooks.clear()
            self._hooks[key] = None
            try:
                read_options(asked, self._settings, self._catalog, model=JobOptions)
            except Unprocessable as error:
                self._hooks[key] = error
        if (fault := self._hooks[key]) is not None:
            raise fault.with_traceback(None)

    def _bad(self, place: str, detail: str) -> None:
        self._only_names = False
        self._faults.append(FieldError(place, detail))


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    options = fields.pop("options", {})
    if not isinstance(options, dict):
        raise InvalidBatch.of(FieldError("#/options", "must be an object"))
    if twice := options.keys() & fields.keys():
        raise InvalidBatch.of(*(FieldError(f"#/{name}", "is given twice") for name in sorted(twice)))
    return {**options, **fields}


def from_jsonl(pieces: Iterator[bytes], settings: Settings) -> Iterator[Placed]:
    """Read a list of items, a JSON object a line; empty lines are passed over.

    Raises:
        InvalidBatch: if a line is longer than any item can be.
    """
    longest = _LINE_BYTES + settings.max_metadata_bytes
    try:
        for number, line in enumerate(lines_of(pieces, longest=longest), 1):
            if not line.strip():
                continue
            yield f"#/line/{number}", _parsed(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
    except LineTooLong as error:
        detail = f"has more than {longest} bytes"
        raise InvalidBatch.of(FieldError(f"#/line/{error.number}", detail)) from None


def _parsed(line: bytes) -> Any:
    try:
        return parse(line.strip())
    except NotJson as error:
        return NotJson(f"is not JSON: {error}")


def from_list(items: Any) -> Iterator[Placed]:
    """Read the member `items` of a JSON body.

    Raises:
        InvalidBatch: if it is no list.
    """
    if not isinstance(items, list):
        raise InvalidBatch.of(FieldError("#/items", "must be a list of items"))
    for number, item in enumerate(items):
        yield f"#/items/{number}", item
