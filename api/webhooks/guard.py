"""Which URLs may be called: told when they are given, and looked at again whenever they are called."""

from api.errors import FieldError, UrlNotCalled
from shared.connections import open_outgoing
from shared.outgoing import UrlRefused
from shared.settings import Settings


def refuse_bad_url(url: str | None, settings: Settings, place: str) -> None:
    """Refuse a URL that may not be called; it stands at this place (a JSON pointer) of the request.

    Raises:
        UrlNotCalled: with the place.
    """
    if url is None:
        return
    try:
        open_outgoing(settings).check(url)
    except UrlRefused as error:
        raise UrlNotCalled(error.message, [FieldError(place, error.message)]) from None
