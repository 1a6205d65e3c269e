"""Names to addresses, within a time: the system's resolver knows no deadline of its own."""

import socket
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread

#: Gives the addresses of a host as texts; raises OSError if it has none.
Resolver = Callable[[str, int], Sequence[str]]


def system_resolver(host: str, port: int) -> Sequence[str]:
    """Ask the operating system."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def look_up(resolver: Resolver, host: str, port: int, *, seconds: float) -> Sequence[str]:
    """Resolve a host, once.

    Raises:
        OSError: if it has no address.
        TimeoutError: if the resolver takes longer; it is left to end by itself.
    """
    answer: SimpleQueue[Sequence[str] | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            answer.put(resolver(host, port))
        except Exception as error:
            answer.put(error)

    Thread(target=ask, name="resolve", daemon=True).start()
    try:
        found = answer.get(timeout=max(0.0, seconds))
    except Empty:
        raise TimeoutError from None
    if isinstance(found, Exception):
        raise found
    return found
