"""Whether it is worth going on with an answer: its client is there, and the server does not stop."""

import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

#: Where the server leaves a function of the WSGI environment that tells whether it stops.
STOPPING = "voicefixer_queue.stopping"
#: A client that takes nothing of what was sent for so long is gone: its machine may be.
_UNHEARD_SECONDS = 30
#: Its end of the connection is closed, even if there are bytes of it that nobody has read yet.
_ENDED = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class Line:
    """The connection of a request."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self._socket: socket.socket | None = environ.get("gunicorn.socket")
        self._stopping: Callable[[], bool] = environ.get(STOPPING, lambda: False)

    def watch_closely(self) -> None:
        """Have a connection end whose client has vanished without a word."""
        self._give_up_after(_UNHEARD_SECONDS)

    def watch_as_usual(self) -> None:
        """Let a client pause again: what follows is an answer, and it may be slow to take it."""
        self._give_up_after(0)  # the system's own

    def _give_up_after(self, seconds: int) -> None:
        if self._socket is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            with suppress(OSError):  # not every connection is of TCP
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)

    def broken(self) -> bool:
        """Whether to come to an end: the client has hung up, or the server stops."""
        return self.stopping() or self.hung_up()

    def stopping(self) -> bool:
        """Whether the server stops."""
        return self._stopping()

    def hung_up(self) -> bool:
        """Whether the client has closed the connection."""
        if self._socket is None:
            return False
        try:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN | _ENDED)
            events = poll.poll(0)
            if not events or events[0][1] & _ENDED:
                return bool(events)
            return not self._socket.recv(1, socket.MSG_PEEK)  # bytes would be the client's next request
        except (OSError, ValueError):
            return True
