"""Requests of this process, counted and timed by route: an address with names in it would be a series of its own."""

import time

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram

#: Seconds; uploads and waiting requests take long.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_NOWHERE = "(none)"


def watch_requests(app: Flask, registry: CollectorRegistry) -> None:
    """Count and time each request to its last byte."""
    counter = Counter(
        "voicefixer_queue_http_requests",
        "Requests that this process has answered.",
        ("method", "route", "status"),
        registry=registry,
    )
    seconds = Histogram(
        "voicefixer_queue_http_request_duration_seconds",
        "Time from the head of a request to the last byte of its answer.",
        ("method", "route"),
        buckets=BUCKETS,
        registry=registry,
    )

    def begin() -> None:
        g.monitored_since = time.perf_counter()

    def finish(response: Response) -> Response:
        method, route = _method(), _route()
        began, status = g.get("monitored_since", time.perf_counter()), response.status_code

        def observe() -> None:
            counter.labels(method, route, status).inc()
            seconds.labels(method, route).observe(time.perf_counter() - began)

        response.call_on_close(observe)
        return response

    app.before_request(begin)
    app.after_request(finish)


def _method() -> str:
    known = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    return request.method if request.method in known else "other"


def _route() -> str:
    return request.url_rule.rule if request.url_rule else _NOWHERE
