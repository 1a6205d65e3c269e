"""Who may come in: each request's key, what it may do, and how often."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import Flask, Response, g, request
from structlog.contextvars import bind_contextvars

from api.auth.rates import Allowance
from api.caller import ALL_SCOPES, Caller
from api.errors import KeyInvalid, KeyMissing, NoKeys, RateExceeded, ScopeMissing
from api.services import Services, services
from shared.access import ApiKey, Scope, parse_token
from shared.jobs import LOCAL

#: Endpoints for everyone: they tell nothing of anyone's, or check a signature of their own.
PUBLIC = {
    "health.alive",
    "health.ready",
    "health.which",
    "health.of_harmony",
    "monitoring.metrics",
    "document",
    "docs",
    "uploads.put_content",
    "uploads.put_part",
}
#: Headers by which a proxy says that a request came from elsewhere.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-Ip")
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="voicefixer-queue"'}
_MAKE_ONE = "make one on the server: voicefixer-queue keys create NAME"


def install(app: Flask) -> None:
    """Ask every request for its key, the public ones excepted."""
    app.before_request(_enter)
    app.after_request(_tell)


def _enter() -> None:
    # An address that there is not is answered with 404 whoever asks; so is a method with 405.
    if request.endpoint is None or request.endpoint in PUBLIC or request.endpoint.startswith("swagger"):
        return
    to = services()
    sent = _sent()
    if sent is None:
        g.caller = _without_key(to)
        return
    key = _key(to, sent)
    g.caller = Caller(key.id, frozenset(key.scopes), max_open=_most_open(to, key))
    bind_contextvars(key=key.id)
    needed: Scope = "read" if request.method in ("GET", "HEAD", "OPTIONS") else "submit"
    if not {needed, "admin"} & set(key.scopes):
        raise ScopeMissing(f"This key may not do that: it lacks the scope `{needed}`.")
    _count(to, key, needed)


def _sent() -> str | None:
    given = request.headers.get("Authorization", "")
    scheme, _, text = given.partition(" ")
    if scheme.lower() == "bearer" and text.strip():
        return text.strip()
    return request.headers.get("Api-Key", "").strip() or None


def _key(to: Services, sent: str) -> ApiKey:
    token = parse_token(sent)
    key = to.keys.find(token.key_id) if token else None
    if token is None or key is None or not token.fits(key.hash) or key.revoked_at is not None:
        raise KeyInvalid(
            "This key opens nothing here: it is mistyped, revoked, or another service's.", headers=_CHALLENGE
        )
    return key


def _without_key(to: Services) -> Caller:
    """Where no key was ever made, this machine's own callers need none; others only if the operator says so."""
    mode = to.settings.auth
    if mode == "open":
        return Caller(LOCAL, ALL_SCOPES)
    if mode == "keys" or to.keys.any():
        raise KeyMissing(
            f"A key is needed: send it as `Authorization: Bearer …` or `Api-Key: …`; who has none must {_MAKE_ONE}.",
            headers=_CHALLENGE,
        )
    if not (_is_loopback(to.settings.api_host) and _is_from_here()):
        raise NoKeys(
            f"This service can be reached from other machines and has no keys yet: {_MAKE_ONE}, or let "
            "everyone in with VFQ_AUTH=open.",
            headers=_CHALLENGE,
        )
    return Caller(LOCAL, ALL_SCOPES)


def _is_from_here() -> bool:
    """Whether a request comes from a program of this machine: through no proxy, and from no page of another site.

    A browser here takes part in what pages from elsewhere make it send; a page's own name may resolve to 127.0.0.1.
    """
    if any(name in request.headers for name in _FORWARDED):
        return False
    origin = request.headers.get("Origin")
    names = [f"//{request.host}", *([origin] if origin else [])]
    return all(_is_loopback(_host_of(name)) for name in names)


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _most_open(to: Services, key: ApiKey) -> int:
    return to.settings.max_open_per_key if key.max_open is None else key.max_open


def _count(to: Services, key: ApiKey, what: Scope) -> None:
    submits = to.settings.submits_per_minute if key.submits_per_minute is None else key.submits_per_minute
    quota = submits if what == "submit" else to.settings.reads_per_minute
    if not quota:
        return
    allowance = to.rates.take(key.id, what, quota)
    g.allowance = allowance
    if allowance.left < 0:
        raise RateExceeded(
            f"This key may {what} {quota} times a minute; go on in {allowance.seconds} seconds.",
            headers={"Retry-After": str(allowance.seconds)},
        )


def _tell(response: Response) -> Response:
    allowance: Allowance | None = g.get("allowance")
    if allowance:
        response.headers.update(allowance.headers())
    return response
