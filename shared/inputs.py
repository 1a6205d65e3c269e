"""Recordings that a request names instead of sending them."""

from dataclasses import dataclass
from ipaddress import ip_address

from shared.errors import InvalidKey, ObjectMissing
from shared.jobs import JobInput
from shared.keys import source_key
from shared.names import plain_name
from shared.outgoing import Outgoing, filename_of, read_url
from shared.settings import Settings
from shared.storage import ObjectStore
from shared.storage.keys import check_key


@dataclass(eq=False)
class InputRefused(Exception):
    """
    What is named cannot be a job's recording.

    Attributes:
        reason: the error's code: input_not_allowed, input_missing, file_empty or input_too_large
        message: for people
        detail: the same as a remark to the field

    """

    reason: str
    message: str
    detail: str


def allowed_prefixes(settings: Settings) -> tuple[str, ...]:
    """Give the folders in storage whose objects may be named."""
    return tuple(prefix.rstrip("/") + "/" for prefix in settings.input_prefixes)


def stored_input(store: ObjectStore, settings: Settings, key: str) -> JobInput:
    """Find an object that is to be a job's recording.

    Raises:
        InputRefused: if it cannot be one.
        StorageError: if storage cannot be used.
    """
    try:
        check_key(key)
    except InvalidKey as error:
        raise InputRefused("input_not_allowed", error.message, "is not a storage key") from None
    prefixes = allowed_prefixes(settings)
    if not key.startswith(prefixes):
        allowed = ", ".join(prefixes) or "none"
        detail = f"is not under a prefix from which this service takes recordings ({allowed})"
        raise InputRefused("input_not_allowed", f"The key {detail}.", detail)
    try:
        found = store.head(key)
    except ObjectMissing:
        raise InputRefused("input_missing", "There is no such object in storage.", "names no object") from None
    if not found.size:
        raise InputRefused("file_empty", "The object is empty.", "names an empty object")
    if found.size > settings.max_upload_bytes:
        detail = f"names an object of {found.size} bytes; {settings.max_upload_bytes} are allowed"
        raise InputRefused("input_too_large", f"The key {detail}.", detail)
    return JobInput(key=key, filename=plain_name(key), bytes=found.size)


def input_to_fetch(outgoing: Outgoing, url: str, job_id: str) -> JobInput:
    """Refuse now what the worker would refuse later; what it finds there may be something else again.

    Raises:
        UrlRefused: if it may not be called.
    """
    outgoing.check(url)
    return _from_url(url, job_id)


def input_to_look_up(outgoing: Outgoing, url: str, job_id: str) -> JobInput:
    """The same where nobody waits for a name to be resolved: the worker does that, and refuses, or tries again.

    Raises:
        UrlRefused: if it is none that can be called, whatever its host's name resolves to.
    """
    if _is_number(read_url(url).host):
        outgoing.check(url)
    return _from_url(url, job_id)


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _from_url(url: str, job_id: str) -> JobInput:
    target = read_url(url)
    return JobInput(key=source_key(job_id), url=target.url, filename=filename_of(target.url))
