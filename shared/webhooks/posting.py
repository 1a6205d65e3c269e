"""How messages leave the house: by the guarded client, which looks at a URL anew each time."""

from collections.abc import Mapping

from shared.outgoing import Answer, Outgoing
from shared.webhooks.sending import Post


def posting(outgoing: Outgoing, *, timeout: float) -> Post:
    """Post by a client; *timeout* seconds are for all of it, from resolving to the answer."""

    def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        return outgoing.post(url, body, headers, timeout=timeout)

    return post
