"""Who asks: the API key of a request, and whose jobs it sees."""

from dataclasses import dataclass
from typing import Literal, cast

from flask import g

from shared.jobs import LOCAL

Scope = Literal["submit", "read", "admin"]
ALL_SCOPES: frozenset[Scope] = frozenset({"submit", "read", "admin"})


@dataclass(frozen=True)
class Caller:
    """
    Whoever sent a request.

    Attributes:
        owner: to whom what it makes belongs: the id of its key
        scopes: what it may do

    """

    owner: str
    scopes: frozenset[Scope]

    def sees(self, owner: str) -> bool:
        """Whether what belongs to *owner* is there for it."""
        return owner == self.owner or "admin" in self.scopes


def caller() -> Caller:
    """Whoever sent the request being served."""
    if "caller" not in g:
        g.caller = Caller(LOCAL, ALL_SCOPES)
    return cast(Caller, g.caller)
