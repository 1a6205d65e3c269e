"""Where a URL leads: read strictly, resolved once, and refused unless every address is out in the world or allowed."""

import re
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from urllib.parse import quote, unquote, urlsplit

import idna

from shared.names import plain_name
from shared.outgoing.addresses import Address, is_global
from shared.outgoing.allow import AllowList
from shared.outgoing.errors import UrlRefused
from shared.outgoing.resolve import Resolver, look_up, system_resolver

#: Presigned URLs with a session's token have two thousand characters.
LONGEST_URL = 4096
_LONGEST_HOST = 253
_PORTS = {"http": 80, "https": 443}
#: Below are the ports of other protocols, which must not be spoken to in HTTP's name.
_FIRST_FREE_PORT = 1024
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
#: What may stand in a path or query as it is; a percent sign was written by who made the URL.
_SAFE = "%/:=&?~+!$,;'@()*[]|"


@dataclass(frozen=True)
class Policy:
    """
    Which URLs may be called.

    Attributes:
        allow: what may be called although it is inside
        resolve: gives the addresses of a name
        resolve_seconds: longest wait for them

    """

    allow: AllowList = field(default_factory=AllowList)
    resolve: Resolver = system_resolver
    resolve_seconds: float = 5.0


@dataclass(frozen=True)
class Target:
    """
    A URL that was read, and the addresses that were checked for it.

    Attributes:
        scheme: `http` or `https`
        host: in lower case and ASCII, without a trailing dot; IPv6 without brackets
        port: from 1 to 65535
        path: as it is sent, with the query; a secret
        addresses: every one may be connected to

    """

    scheme: str
    host: str
    port: int
    path: str = field(repr=False)
    addresses: tuple[str, ...] = ()

    @property
    def authority(self) -> str:
        """Host and, if it is not the scheme's own, port, as in the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL in its plain form; a secret."""
        return f"{self.scheme}://{self.authority}{self.path}"


def check_url(url: str, *, policy: Policy, seconds: float | None = None) -> Target:
    """Read a URL, resolve its host, and see that it may be called.

    Args:
        url: of somebody else.
        policy: what may be called.
        seconds: longest wait for the resolver, if it is less than the policy's.

    Raises:
        UrlRefused: with its reason.
    """
    target = read_url(url)
    limit = policy.resolve_seconds if seconds is None else min(seconds, policy.resolve_seconds)
    addresses = _addresses(target, policy, limit)
    for address in addresses:
        if policy.allow.covers(target.host, address, target.port):
            continue
        if not is_global(address):
            # Which address it was would tell callers what names mean in here.
            raise UrlRefused(
                "address",
                f"The host {target.host} has an address that is not out in the world; "
                "VFQ_OUTGOING_ALLOW lists what may be called in this network.",
            )
        if target.port not in _PORTS.values() and target.port < _FIRST_FREE_PORT:
            raise UrlRefused("port", f"Port {target.port} is another protocol's; 80, 443 and those from 1024 will do.")
    return Target(target.scheme, target.host, target.port, target.path, tuple(map(str, addresses)))


def read_url(url: str) -> Target:
    """Read a URL; nothing is resolved.

    Raises:
        UrlRefused: if it is not one that can be called, whatever its host is.
    """
    if len(url) > LONGEST_URL:
        raise UrlRefused("syntax", f"A URL may have {LONGEST_URL} characters.")
    # Readers of URLs differ in what they make of these: none is taken.
    if "\\" in url or any(char.isspace() or not char.isprintable() for char in url):
        raise UrlRefused(
            "syntax", "A URL has no spaces, control characters or backslashes; write them as %20 and so on."
        )
    try:
        parts = urlsplit(url)
    except ValueError:  # it looks at brackets, and at letters that would become others
        raise _no_host() from None
    if parts.scheme not in _PORTS:
        raise UrlRefused("scheme", "Only http:// and https:// are called.")
    if "@" in parts.netloc:
        raise UrlRefused("userinfo", "A URL with a name or password before its host is not called.")
    host, port = _host_and_port(parts.netloc, _PORTS[parts.scheme])
    path = quote(parts.path or "/", safe=_SAFE)
    query = f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""
    return Target(parts.scheme, host, port, path + query)


def without_secrets(url: str) -> str:
    """Show a URL that was taken before: without its query."""
    return url.partition("?")[0]


def filename_of(url: str) -> str:
    """Give the last part of the path of a URL that was taken before, as a file's name."""
    return plain_name(unquote(urlsplit(url).path.rpartition("/")[2]))


def _host_and_port(netloc: str, usual: int) -> tuple[str, int]:
    if netloc.startswith("["):
        literal, bracket, rest = netloc[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _no_host()
        return _ipv6(literal), _port(rest[1:], usual)
    host, _, port = netloc.partition(":")
    return _name_or_ipv4(host), _port(port, usual)


def _port(text: str, usual: int) -> int:
    if not text:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise UrlRefused("port", "A port is a number from 1 to 65535.")
    return int(text)


def _ipv6(literal: str) -> str:
    try:
        address = IPv6Address(literal)
    except AddressValueError:
        raise _no_host() from None
    if address.scope_id is not None:
        raise UrlRefused("host", "An address with a zone (%) is one of this machine's own links.")
    return str(address)


def _name_or_ipv4(host: str) -> str:
    name = _ascii(host).removesuffix(".")
    labels = name.split(".")
    if not name or len(name) > _LONGEST_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise _no_host()
    if not _is_number(labels[-1]):
        return name
    # Resolvers read 2130706433, 0177.1 and 0x7f.0.0.1 as 127.0.0.1, others do not: one way of writing is enough.
    try:
        return str(IPv4Address(name))
    except AddressValueError:
        raise UrlRefused("host", "An IPv4 address is written as four decimal numbers.") from None


def _ascii(host: str) -> str:
    if len(host) > _LONGEST_HOST + 1:
        raise _no_host()
    if host.isascii():
        return host.lower()
    try:
        return idna.encode(host, uts46=True).decode().lower()
    except idna.IDNAError:
        raise _no_host() from None


def _is_number(label: str) -> bool:
    return label.isdigit() or re.fullmatch(r"0x[0-9a-f]*", label) is not None


def _no_host() -> UrlRefused:
    return UrlRefused("host", "The URL names no host that can be called.")


def _addresses(target: Target, policy: Policy, seconds: float) -> list[Address]:
    try:
        return [ip_address(target.host)]
    except ValueError:
        pass
    try:
        found = look_up(policy.resolve, target.host, target.port, seconds=seconds)
        addresses = list(dict.fromkeys(map(ip_address, found)))
    except (OSError, ValueError):
        addresses = []
    if not addresses:
        raise UrlRefused("unresolvable", f"The host {target.host} has no address, or its name servers do not answer.")
    return addresses
