"""Integers as JSON has them."""

from typing import Annotated

from pydantic import BeforeValidator, Field, Strict


def whole(value: object) -> object:
    """Take 1 and 1.0, which JSON does not tell apart, but not true or "1", which Python would take for 1."""
    if isinstance(value, bool):
        raise ValueError("must be an integer")
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, Strict(), BeforeValidator(whole)]
#: From 1 on. The bound is told here, for the schema of what may be null would lose it.
Positive = Annotated[int, Strict(), Field(ge=1), BeforeValidator(whole)]
