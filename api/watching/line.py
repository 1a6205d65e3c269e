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


class Line:
    """The connection of a request."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self._socket: socket.socket | None = environ.get("gunicorn.socket")
        self._stopping: Callable[[], bool] = environ.get(STOPPING, lambda: False)

    def watch_closely(self) -> None:
        """Have a connection end whose client has vanished without a word."""
        if self._socket is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            with suppress(OSError):  # not every connection is of TCP
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNHEARD_SECONDS * 1000)

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
            poll.register(self._socket, select.POLLIN)
            # Bytes would be the client's next request.
            return bool(poll.poll(0)) and not self._socket.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return True
