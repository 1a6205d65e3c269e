"""What an operator lets the service call although it is inside: names, addresses and networks of a LAN."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Self

from shared.outgoing.addresses import Address


@dataclass(frozen=True)
class _Entry:
    """A name or a network, and a port or any."""

    place: str | IPv4Network | IPv6Network
    port: int | None

    def covers(self, host: str, address: Address, port: int) -> bool:
        if self.port not in (None, port):
            return False
        return host == self.place if isinstance(self.place, str) else address in self.place


@dataclass(frozen=True)
class AllowList:
    """Exceptions to the rule that only the world outside is called. A name stands for whatever it resolves to."""

    entries: tuple[_Entry, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Read `name`, `address`, `network/bits`, each with `:port` or without; IPv6 with a port is in brackets.

        Raises:
            ValueError: if one cannot be read.
        """
        return cls(tuple(_entry(text) for text in texts))

    def covers(self, host: str, address: Address, port: int) -> bool:
        """Whether this address of a host may be called at a port."""
        return any(entry.covers(host, address, port) for entry in self.entries)


def _entry(text: str) -> _Entry:
    place, port = _without_port(text.strip())
    if _is_numeric(place):
        try:
            return _Entry(ip_network(place), port)
        except ValueError:
            raise ValueError(f"{text} is no address or network; 10.0.0.5, 10.0.0.0/24 and fd00::/8 are") from None
    name = place.lower().removesuffix(".")
    if not name or not all(char.isalnum() or char in "-_." for char in name) or not name.isascii():
        raise ValueError(f"{text} is no host name; write names in ASCII, without scheme and path")
    return _Entry(name, port)


def _without_port(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        place, _, rest = text[1:].partition("]")
        if rest and not rest.startswith(":"):
            raise ValueError(f"{text} has something other than a port after the bracket")
        port = rest[1:]
    elif text.count(":") == 1:
        place, _, port = text.partition(":")
    else:
        return text, None
    if not port and not text.endswith(":"):
        return place, None
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
        raise ValueError(f"{text} has no port from 1 to 65535")
    return place, int(port)


def _is_numeric(place: str) -> bool:
    return ":" in place or "/" in place or place.rpartition(".")[2].isdigit()
