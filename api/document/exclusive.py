"""Fields of which a request has one, as JSON Schema says it."""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

_NOTHING: Schema = {"type": "null"}


def one_text(*names: str) -> Schema:
    """Say that exactly one of these texts is given."""
    return one_of({name: {"type": "string"} for name in names})


def one_of(given: Mapping[str, Schema], *, absent: Mapping[str, Schema] | None = None) -> Schema:
    """Say that exactly one field is given, as its schema has it; the others are null, or what *absent* says."""
    otherwise = {**dict.fromkeys(given, _NOTHING), **(absent or {})}
    return {
        "anyOf": [{"properties": {**otherwise, name: schema}, "required": [name]} for name, schema in given.items()]
    }
