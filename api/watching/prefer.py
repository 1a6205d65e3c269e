"""The header `Prefer` (RFC 7240): whether to wait for the end of a job."""

import re
from dataclasses import dataclass

from pydantic import BaseModel, Field

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_VALUE = rf"\s*(?:=\s*(?P<value>{_TOKEN}|{_QUOTED})?)?\s*"
_NAME = re.compile(rf"\s*(?P<name>{_TOKEN}){_VALUE}(?=[;,]|$)")
#: What is not understood is skipped up to the next comma that stands in no quotes.
_REST = re.compile(rf"(?:{_QUOTED}|[^,])*,?")
_SECONDS = re.compile(r"[0-9]{1,9}")


class PreferHeader(BaseModel):
    """The header of routes that may wait."""

    prefer: str | None = Field(
        None,
        alias="Prefer",
        description="`wait=30`: hold the answer back until the job is over, for so many seconds at most (RFC 7240); "
        "`Preference-Applied` says if that was done. `respond-async`, an answer at once, is what happens without.",
    )


class DeleteHeader(BaseModel):
    """The header of routes that delete what may have to be stopped first."""

    prefer: str | None = Field(
        None,
        alias="Prefer",
        description="What runs is waited for a few seconds, or with `wait=30` for so many; `respond-async` answers at "
        "once (RFC 7240).",
    )


@dataclass(frozen=True)
class Preferences:
    """
    What a client would like.

    Attributes:
        wait: seconds that it would wait for the end of a job; None if it said nothing of it
        respond_async: whether an answer before the end is welcome

    """

    wait: int | None = None
    respond_async: bool = False


def read_preferences(header: str | None) -> Preferences:
    """Read the header, whose lines are joined by commas; of a preference that is given twice the first counts."""
    header = header or ""
    wanted: dict[str, str] = {}
    at = 0
    while at < len(header):
        found = _NAME.match(header, at)
        if found:
            wanted.setdefault(found["name"].lower(), (found["value"] or "").strip('"'))
        rest = _REST.match(header, found.end() if found else at)
        at = max(at + 1, rest.end() if rest else len(header))
    wait = wanted.get("wait", "")
    return Preferences(
        wait=int(wait) if _SECONDS.fullmatch(wait) else None,
        respond_async="respond-async" in wanted,
    )
