"""The one client for other people's URLs: nothing kept between calls, nothing followed unseen, nothing unpacked."""

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from functools import cached_property
from urllib.parse import urljoin

import httpcore
import httpx

from shared.outgoing.errors import (
    OutgoingError,
    UrlBadAnswer,
    UrlBadStatus,
    UrlRefused,
    UrlTimedOut,
    UrlTooLarge,
)
from shared.outgoing.network import Deadline, PinnedBackend
from shared.outgoing.target import Policy, Target, check_url

#: Of an answer's body, so much is kept to tell what a receiver said.
EXCERPT_BYTES = 1024
#: For headers, and for the marks between chunks beside as many bytes as the body may have.
_HEADER_BYTES = 256 * 1024
#: A status is an answer; what follows it is not waited for much longer.
_EXCERPT_SECONDS = 1.0
#: A source that says nothing for so long, or is slower than a telephone line after that, holds up others in vain.
_SILENCE_SECONDS = 30.0
_LEAST_RATE = 8_000
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ALWAYS = {"Accept-Encoding": "identity", "Connection": "close"}


@dataclass(frozen=True)
class Answer:
    """
    What a receiver answered.

    Attributes:
        status: of HTTP
        headers: by their names in lower case; of equal ones the last
        body_excerpt: the beginning of the body, as text

    """

    status: int
    headers: Mapping[str, str]
    body_excerpt: str


@dataclass(frozen=True)
class Download:
    """
    What was fetched.

    Attributes:
        size: in bytes
        filename: as its server calls it; none if it does not

    """

    size: int
    filename: str | None


class Outgoing:
    """
    Calls URLs that a policy lets pass. One serves all threads of a process; connections are never used twice.

    Neither proxies nor cookies; of the environment only `SSL_CERT_FILE` and `SSL_CERT_DIR`, for one's own authorities.
    """

    def __init__(self, policy: Policy | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        """Call what *policy* allows, by default only the world outside; *tls* replaces the usual authorities."""
        self._policy = policy or Policy()
        self._given_tls = tls

    def check(self, url: str) -> Target:
        """See that a URL may be called now; nothing is sent to it.

        Raises:
            UrlRefused: if not.
        """
        return check_url(url, policy=self._policy)

    def post(self, url: str, content: bytes, headers: Mapping[str, str], *, timeout: float) -> Answer:
        """Send *content*, and give the answer, whatever its status. Redirects are answers too.

        Args:
            url: checked here.
            content: body of the request.
            headers: beside `Host`, `Content-Length` and those that every call has.
            timeout: seconds for all of it: resolving, connecting, sending, and the answer's headers.

        Raises:
            OutgoingError: if there was no answer; `UrlRefused` if the URL may not be called.
        """
        deadline = Deadline(timeout)
        target = self._checked(url, deadline)
        with self._exchange("POST", target, headers, content, deadline, most_bytes=EXCERPT_BYTES) as response:
            deadline.shorten(_EXCERPT_SECONDS)
            return Answer(response.status, _headers(response), _excerpt(response))

    def download(
        self,
        url: str,
        sink: Callable[[bytes], object],
        *,
        max_bytes: int,
        seconds: float,
        max_redirects: int = 3,
    ) -> Download:
        """Fetch what a URL leads to, and give each piece of it to *sink*, whose errors end it.

        Args:
            url: checked here, as is every redirect.
            sink: takes the next bytes.
            max_bytes: the largest body.
            seconds: for all of it.
            max_redirects: that are followed.

        Raises:
            OutgoingError: if it is not there whole; what *sink* got is to be thrown away then.
        """
        deadline = Deadline(seconds)
        target = self._checked(url, deadline)
        for _ in range(max_redirects + 1):
            with self._exchange("GET", target, {"Accept": "*/*"}, None, deadline, most_bytes=max_bytes) as response:
                if response.status not in _REDIRECTS:
                    return _receive(target, response, sink, max_bytes)
                location = _location(response)
            if not location:
                raise UrlBadStatus(
                    f"The host {target.host} answered {response.status} and no address.", response.status
                )
            target = self._redirected(target, location, deadline)
        raise UrlRefused("redirect", f"The URL is redirected more than {max_redirects} times.")

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or httpx.create_ssl_context()

    def _checked(self, url: str, deadline: Deadline) -> Target:
        try:
            return check_url(url, policy=self._policy, seconds=deadline.left())
        except TimeoutError:
            raise UrlTimedOut("There is no time left for the URL.") from None

    def _redirected(self, before: Target, location: str, deadline: Deadline) -> Target:
        try:
            url = urljoin(before.url, location)
        except ValueError:
            raise UrlRefused("redirect", f"The host {before.host} redirects to what is no URL.") from None
        target = self._checked(url, deadline)
        if before.scheme == "https" and target.scheme == "http":
            raise UrlRefused("redirect", f"The host {before.host} redirects from https to http.")
        return target

    @contextmanager
    def _exchange(
        self,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        content: bytes | None,
        deadline: Deadline,
        *,
        most_bytes: int,
    ) -> Iterator[httpcore.Response]:
        """Send a request over a connection of its own, and give the answer whose body is yet to be read."""
        backend = PinnedBackend(target, deadline, most_bytes=2 * most_bytes + _HEADER_BYTES, silence=_SILENCE_SECONDS)
        origin = httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port)
        url = httpcore.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=target.path.encode("ascii"))
        sent = {"User-Agent": "voicefixer-queue", **headers, **_ALWAYS, "Host": target.authority}
        tls = self._tls if target.scheme == "https" else None
        with httpcore.HTTPConnection(origin, ssl_context=tls, network_backend=backend) as connection:
            try:
                with connection.stream(method, url, headers=list(sent.items()), content=content) as response:
                    yield response
            except httpcore.RemoteProtocolError:
                raise UrlBadAnswer(f"What the host {target.host} answers is no whole HTTP.", passing=True) from None


def _headers(response: httpcore.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


def _location(response: httpcore.Response) -> str:
    """Give where a redirect leads. Servers send file names as they are; browsers read them as UTF-8."""
    location = _headers(response).get("location", "").strip()
    return location.encode("latin-1").decode("utf-8", "replace").replace(" ", "%20")


def _excerpt(response: httpcore.Response) -> str:
    """Read the beginning of a body; the status holds, whatever becomes of it."""
    body = bytearray()
    with suppress(OutgoingError, httpcore.RemoteProtocolError):
        for piece in response.iter_stream():
            body += piece[: EXCERPT_BYTES - len(body)]
            if len(body) >= EXCERPT_BYTES:
                break
    return body.decode("utf-8", "replace")


def _receive(target: Target, response: httpcore.Response, sink: Callable[[bytes], object], max_bytes: int) -> Download:
    if response.status != 200:
        raise UrlBadStatus(f"The host {target.host} answered {response.status}.", response.status)
    headers = _headers(response)
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        # Never unpacked: a few bytes can become gigabytes.
        raise UrlBadAnswer(f"The host {target.host} sends the file compressed, which was not asked for.", passing=False)
    too_large = UrlTooLarge(f"The host {target.host} sends more than the {max_bytes} bytes that are taken.")
    if headers.get("content-length", "").isdecimal() and int(headers["content-length"][:20]) > max_bytes:
        raise too_large
    size, begun = 0, time.monotonic()
    for piece in response.iter_stream():
        size += len(piece)
        if size > max_bytes:
            raise too_large
        sink(piece)
        lasted = time.monotonic() - begun
        if lasted > _SILENCE_SECONDS and size < _LEAST_RATE * lasted:
            raise UrlTimedOut(f"The host {target.host} sends less than {_LEAST_RATE} bytes a second.")
    return Download(size, _filename(headers))


def _filename(headers: Mapping[str, str]) -> str | None:
    if "content-disposition" not in headers:
        return None
    message = Message()
    message["Content-Disposition"] = headers["content-disposition"]
    return message.get_filename() or None
