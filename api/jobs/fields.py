"""Form fields put together as the object that JSON would hold."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from api.errors import FieldError, Unprocessable, pointer
from api.http import strictjson
from shared.jobs import JobOptions, OutputRequest

Path = tuple[str, ...]

_OBJECTS = ("options", "output", "metadata")
_LISTS = ("stages", "webhook_events_filter")
_DECIMALS = ("deadline_seconds",)
_NUMBERS = ("mode", "seed", "samples", "output.sample_rate", "output.bit_depth", "output.channels")
_NAMES = {*JobOptions.model_fields, "options", *(f"output.{name}" for name in OutputRequest.model_fields)}
_INTEGER = re.compile(r"-?[0-9]{1,30}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]{1,3})?", re.IGNORECASE)


class _Fault(Exception):
    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(detail)
        self.error = FieldError(pointer(path), detail)


def is_option(name: str) -> bool:
    """Whether a form field of this name is an option."""
    return name in _NAMES


def from_fields(fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Read the options of a form: `mode=1`, `output.format=flac`, and JSON in `options`, `output` and `metadata`.

    An empty field counts as left out: pages send all fields of a form, also those that nobody filled in.

    Raises:
        Unprocessable: for a field that is unknown, that is no JSON where it must be, or that is given twice.
    """
    options: dict[str, Any] = {}
    errors: list[FieldError] = []
    for name, text in fields:
        try:
            for path, value in _members(name, text):
                _put(options, path, value)
        except _Fault as fault:
            errors.append(fault.error)
    if errors:
        raise Unprocessable.of(*errors)
    return options


def _members(name: str, text: str) -> Iterator[tuple[Path, Any]]:
    """Yield what one field sets; objects fall into members, so that two fields may fill one of them."""
    if name not in _NAMES:
        raise _Fault((name,), "there is no option of this name")
    if not text.strip():
        return
    path = tuple(name.split("."))
    value = _value(name, path, text)
    if name == "options":
        for member, inner in value.items():
            yield from _spread((member,), inner)
    else:
        yield from _spread(path, value)


def _spread(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    if path == ("output",) and isinstance(value, dict):
        for member, inner in value.items():
            yield (*path, member), inner
    else:
        yield path, value


def _value(name: str, path: Path, text: str) -> Any:
    if name in _NUMBERS:
        return int(text) if _INTEGER.fullmatch(text.strip()) else text
    if name in _DECIMALS:
        return float(text) if _NUMBER.fullmatch(text.strip()) else text
    if name in _OBJECTS or (name in _LISTS and text.lstrip().startswith("[")):
        try:
            value = strictjson.parse(text)
        except strictjson.NotJson as error:
            raise _Fault(path, str(error)) from None
        if name in _OBJECTS and not isinstance(value, dict):
            raise _Fault(path, "must be a JSON object")
        return value
    return text.strip()


def _put(options: dict[str, Any], path: Path, value: Any) -> None:
    target = options if len(path) == 1 else options.setdefault(path[0], {})
    if not isinstance(target, dict) or path[-1] in target:
        raise _Fault(path, "is given twice")
    target[path[-1]] = value
