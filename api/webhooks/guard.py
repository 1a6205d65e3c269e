"""Which URLs may be called: told when they are given, and looked at again whenever they are called."""

from api.errors import FieldError, Unprocessable
from shared.connections import open_outgoing
from shared.outgoing import UrlRefused
from shared.settings import Settings


def url_faults(url: str | None, settings: Settings, place: str) -> list[FieldError]:
    """Say what is wrong with a URL that stands at this place (a JSON pointer) of a request."""
    if url is None:
        return []
    try:
        open_outgoing(settings).check(url)
    except UrlRefused as error:
        return [FieldError(place, error.message)]
    return []


def refuse_bad_url(url: str | None, settings: Settings, place: str) -> None:
    """Refuse it.

    Raises:
        Unprocessable: if it may not be called.
    """
    if faults := url_faults(url, settings, place):
        raise Unprocessable.of(*faults)
