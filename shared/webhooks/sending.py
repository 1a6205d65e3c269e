"""One attempt at a receiver, and what came of it."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Protocol

from shared.webhooks.message import Message

_WORD = re.compile(r"[a-z0-9_]{1,40}")


class Answer(Protocol):
    """What a receiver answered; its body is of no interest."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers."""
        ...


#: Posts a body to a URL. Raises an error with a `code` if there is no answer, or none may be asked for.
Post = Callable[[str, bytes, Mapping[str, str]], Answer]


@dataclass(frozen=True)
class Sent:
    """
    What came of an attempt.

    Attributes:
        outcome: the status, or a word for why there is none
        milliseconds: that it took
        status: if the receiver answered
        retry_after: seconds that it asked to wait

    """

    outcome: str
    milliseconds: int
    status: int | None = None
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the receiver has taken it: only 2xx says so."""
        return self.status is not None and 200 <= self.status < 300


def send(post: Post, url: str, message: Message) -> Sent:
    """Send a message once; whatever goes wrong is told in the answer."""
    began = time.monotonic()
    try:
        answer = post(url, message.body, message.headers)
    except Exception as error:  # a receiver can do anything, and all of it is an attempt that failed
        return Sent(_word(error), _since(began))
    wait = _retry_after(answer) if answer.status in (429, 503) else None
    return Sent(str(answer.status), _since(began), answer.status, wait)


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _word(error: Exception) -> str:
    code = getattr(error, "code", None)
    return code if isinstance(code, str) and _WORD.fullmatch(code) else "no_answer"


def _retry_after(answer: Answer) -> float | None:
    """Read `Retry-After`: seconds, or a date."""
    text = next((value for name, value in answer.headers.items() if name.lower() == "retry-after"), "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
