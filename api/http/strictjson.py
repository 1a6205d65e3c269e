"""JSON as it should be: no name twice, no NaN, nothing that cannot be written back."""

import json
from collections.abc import Iterable
from typing import Any

#: Deeper than any options; far below what parsers and storage refuse.
MAX_DEPTH = 32


class NotJson(ValueError):
    """The text is not JSON that can be kept; the message says where and why."""


class NamedTwice(NotJson):
    """An object names one member twice; `name` is it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the name {name[:80]!a} stands twice in one object")
        self.name = name


def parse(text: str | bytes) -> Any:
    """Read a JSON text.

    Raises:
        NotJson: if it is none, or holds what could not be given back unchanged.
    """
    try:
        string = text.decode() if isinstance(text, bytes) else text
        value = json.loads(string, object_pairs_hook=_members, parse_constant=_no_constant, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode()
    except NotJson:
        raise
    except json.JSONDecodeError as error:
        raise NotJson(f"not JSON at line {error.lineno}, column {error.colno}") from None
    except UnicodeError:
        raise NotJson("not text in UTF-8, or half of a surrogate pair") from None
    except (RecursionError, ValueError):
        raise NotJson("nested too deeply, or a number with too many digits") from None
    if _depth(value) > MAX_DEPTH:
        raise NotJson(f"nested more than {MAX_DEPTH} deep")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise NamedTwice(_first_again(name for name, _ in pairs))
    return members


def _first_again(names: Iterable[str]) -> str:
    """The first name that has been there before; a megabyte holds a hundred thousand, so each is looked at once."""
    seen: set[str] = set()
    return next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]


def _no_constant(name: str) -> None:
    raise NotJson(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise NotJson("a number is too large")
    return value


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level:
        depth += 1
        members = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = [inner for group in members for inner in group]
    return depth
