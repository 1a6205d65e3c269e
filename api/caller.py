"""Who asks: the API key of a request, and whose jobs it sees."""

from dataclasses import dataclass
from typing import cast

from flask import g

from shared.access import Scope

ALL_SCOPES: frozenset[Scope] = frozenset({"submit", "read", "admin"})


@dataclass(frozen=True)
class Caller:
    """
    Whoever sent a request.

    Attributes:
        owner: to whom what it makes belongs: the id of its key
        scopes: what it may do
        max_open: its jobs that may be unfinished at once; 0 for however many

    """

    owner: str
    scopes: frozenset[Scope]
    max_open: int = 0

    def sees(self, owner: str) -> bool:
        """Whether what belongs to *owner* is there for it."""
        return owner == self.owner or "admin" in self.scopes


def caller() -> Caller:
    """Whoever sent the request being served."""
    return cast(Caller, g.caller)
