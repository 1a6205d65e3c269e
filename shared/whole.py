"""Integers as JSON has them."""

from typing import Annotated

from pydantic import BeforeValidator, Strict


def whole(value: object) -> object:
    """Take 1 and 1.0, which JSON does not tell apart, but not true or "1", which Python would take for 1."""
    if isinstance(value, bool):
        raise ValueError("must be an integer")
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, Strict(), BeforeValidator(whole)]
