"""Connections to checked addresses alone, with one deadline and one limit of bytes for all that is read."""

import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore

from shared.outgoing.errors import UrlTimedOut, UrlTooLarge, UrlUnreachable
from shared.outgoing.target import Target


class Deadline:
    """When a call must be over, whatever it is doing."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until then.

        Raises:
            TimeoutError: if there are none.
        """
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds

    def shorten(self, seconds: float) -> None:
        """Be over in so many seconds at the latest."""
        self._end = min(self._end, time.monotonic() + seconds)


class PinnedBackend(httpcore.NetworkBackend):
    """
    Connects to the addresses of one target, whatever host it is asked for.

    Args:
        target: that was checked.
        deadline: of the whole call.
        most_bytes: read from the connection, headers and the marks between chunks included.
        silence: seconds without a byte after which it is over too.

    """

    def __init__(self, target: Target, deadline: Deadline, *, most_bytes: int, silence: float) -> None:
        self._target = target
        self._deadline = deadline
        self._most_bytes = most_bytes
        self._silence = silence

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Try one address after the other, each for its share of the time."""
        del host, port, timeout, local_address, socket_options  # the target's own, and the deadline
        target = self._target
        late = False
        for tried, address in enumerate(target.addresses):
            try:
                share = self._deadline.left() / (len(target.addresses) - tried)
                connected = _connect(address, target.port, share)
            except TimeoutError:
                late = True
            except OSError:
                continue
            else:
                return _Stream(connected, target.host, self._deadline, self._most_bytes, self._silence)
        if late:
            raise UrlTimedOut(f"The host {target.host} did not answer in time.")
        raise UrlUnreachable(f"No connection to the host {target.host} could be made.")


def _connect(address: str, port: int, seconds: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.settimeout(seconds)
        made.connect((address, port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        made.close()
        raise
    return made


class _Stream(httpcore.NetworkStream):
    """A connection. Python's sockets keep a time-out for each call; here every call gets what is left of one."""

    def __init__(
        self, connected: socket.socket, host: str, deadline: Deadline, most_bytes: int, silence: float
    ) -> None:
        self._socket = connected
        self._host = host
        self._deadline = deadline
        self._bytes_left = most_bytes
        self._silence = silence

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout
        try:
            self._socket.settimeout(min(self._deadline.left(), self._silence))
            data = self._socket.recv(max_bytes)
        except TimeoutError:
            raise UrlTimedOut(f"The host {self._host} did not answer in time.") from None
        except OSError:
            raise UrlUnreachable(f"The connection to the host {self._host} broke.") from None
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise UrlTooLarge(f"The host {self._host} sends more bytes than are taken.")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout
        rest = memoryview(buffer)
        try:
            while rest:
                self._socket.settimeout(self._deadline.left())
                rest = rest[self._socket.send(rest) :]
        except TimeoutError:
            raise UrlTimedOut(f"The host {self._host} did not take the request in time.") from None
        except OSError as error:
            # Whoever refuses a request early may have answered it: httpcore looks.
            raise httpcore.WriteError from error

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        del timeout
        try:
            self._socket.settimeout(self._deadline.left())
            self._socket = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except TimeoutError:
            self.close()
            raise UrlTimedOut(f"The host {self._host} did not answer in time.") from None
        except ssl.SSLCertVerificationError:
            self.close()
            raise UrlUnreachable(f"The certificate of the host {self._host} cannot be trusted.") from None
        except OSError:
            self.close()
            raise UrlUnreachable(f"No TLS connection to the host {self._host} could be made.") from None
        return self

    def get_extra_info(self, info: str) -> Any:
        del info  # HTTP/1.1 is all that is offered
        return None
