"""`GET /metrics`: what Prometheus scrapes."""

from flask import Flask, Response, current_app
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.types import ResponseDict
from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from api import describe
from api.monitoring.process import watch_process
from api.monitoring.requests import watch_requests
from api.monitoring.service import ServiceCollector
from api.services import Services

_NAME = "voicefixer-queue-metrics"
RESPONSES: ResponseDict = {
    "200": {
        "description": "All metrics, in Prometheus's text format.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}

monitoring = APIBlueprint("monitoring", __name__, abp_tags=[describe.SERVICE], abp_responses=describe.PUBLIC_ERRORS)


def install(app: Flask, to: Services) -> None:
    """Let the application count its requests, and its routes find what there is to tell."""
    # Each counter would have a series beside it for the time of its birth.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()  # an application's own: a process may make several
    watch_process(registry)
    watch_requests(app, registry)
    registry.register(ServiceCollector(to.client, to.broker, prefix=to.settings.key_prefix))
    app.extensions[_NAME] = registry


@monitoring.get("/metrics", summary="Tell Prometheus how the service is", responses=RESPONSES)
def metrics() -> Response:
    """Tell the figures of the whole service, from Redis, and of this process's requests. Nothing is anyone's."""
    text = generate_latest(current_app.extensions[_NAME])
    return Response(text, content_type=CONTENT_TYPE_PLAIN_0_0_4)
