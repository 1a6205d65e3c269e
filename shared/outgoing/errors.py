"""Why a URL was not called, or not answered. Messages name its host alone: path and query may be secrets."""

from typing import ClassVar, Literal

from shared.errors import ServiceError

Reason = Literal["syntax", "scheme", "userinfo", "host", "port", "address", "unresolvable", "redirect"]


class OutgoingError(ServiceError):
    """
    Base of what can go wrong with somebody else's URL.

    Attributes:
        passing: whether the same call may succeed later

    """

    code: ClassVar[str] = "url_failed"

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing


class UrlRefused(OutgoingError):
    """
    The URL is not called, because of where it leads.

    Attributes:
        reason: in a word; only an `unresolvable` host may do later

    """

    code: ClassVar[str] = "url_refused"

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message, passing=reason == "unresolvable")
        self.reason = reason


class UrlUnreachable(OutgoingError):
    """No connection, none that its certificate vouches for, or one that broke."""

    code: ClassVar[str] = "url_unreachable"

    def __init__(self, message: str) -> None:
        super().__init__(message, passing=True)


class UrlTimedOut(OutgoingError):
    """The answer was not there in time."""

    code: ClassVar[str] = "url_timed_out"

    def __init__(self, message: str) -> None:
        super().__init__(message, passing=True)


class UrlTooLarge(OutgoingError):
    """The answer has more bytes than are taken."""

    code: ClassVar[str] = "url_too_large"

    def __init__(self, message: str) -> None:
        super().__init__(message, passing=False)


class UrlBadStatus(OutgoingError):
    """
    The answer is no 200.

    Attributes:
        status: of the answer

    """

    code: ClassVar[str] = "url_bad_status"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, passing=status >= 500 or status in (408, 425, 429))
        self.status = status


class UrlBadAnswer(OutgoingError):
    """The answer is no HTTP, ends too early, or has a form that was not asked for."""

    code: ClassVar[str] = "url_bad_answer"
