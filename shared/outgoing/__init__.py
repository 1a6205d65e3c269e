"""Calling other people's URLs: what callers of the service name is called only where it is out in the world."""

from shared.outgoing.allow import AllowList
from shared.outgoing.client import Answer, Download, Outgoing
from shared.outgoing.errors import (
    OutgoingError,
    Reason,
    UrlBadAnswer,
    UrlBadStatus,
    UrlRefused,
    UrlTimedOut,
    UrlTooLarge,
    UrlUnreachable,
)
from shared.outgoing.target import LONGEST_URL, Policy, Target, check_url, filename_of, read_url, without_secrets

__all__ = [
    "LONGEST_URL",
    "AllowList",
    "Answer",
    "Download",
    "Outgoing",
    "OutgoingError",
    "Policy",
    "Reason",
    "Target",
    "UrlBadAnswer",
    "UrlBadStatus",
    "UrlRefused",
    "UrlTimedOut",
    "UrlTooLarge",
    "UrlUnreachable",
    "check_url",
    "filename_of",
    "read_url",
    "without_secrets",
]
