"""Addresses to listen on."""

import errno
import socket
from contextlib import closing

from cli.errors import StackError


def free_port(host: str = "127.0.0.1") -> int:
    """Find a TCP port that nobody listens on just now.

    Raises:
        StackError: if *host* is no address of this machine.
    """
    return _bind(host, 0)


def require_free(host: str, port: int) -> None:
    """See that a port can be listened on.

    Raises:
        StackError: if not; says why.
    """
    _bind(host, port)


def reachable_url(host: str, port: int) -> str:
    """URL under which this machine reaches what listens on *host*."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bind(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            taken = error.errno in (errno.EADDRINUSE, errno.EACCES)
            advice = "Choose another with --port." if taken else "Choose an address of this machine with --host."
            raise StackError(f"Cannot listen on {host}:{port}: {error.strerror or error}. {advice}") from None
        chosen: int = probe.getsockname()[1]
        return chosen
