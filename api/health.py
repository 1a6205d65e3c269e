"""How the service is: alive, ready, and of which version."""

import redis
from flask import Response, jsonify
from flask_openapi3.blueprint import APIBlueprint

from api import describe
from api.services import Services, services
from shared import log
from shared.errors import StorageDenied, StorageError
from shared.version import PACKAGE, running_version

_log = log.logger("api")

health = APIBlueprint("health", __name__, abp_tags=[describe.SERVICE], abp_responses=describe.PUBLIC_ERRORS)


@health.get("/healthz", summary="Is the process alive?", responses=describe.ALIVE_RESPONSES)
def alive() -> Response:
    """Answer without asking anyone."""
    return jsonify(status="ok")


@health.get("/readyz", summary="Can work be taken and done?", responses=describe.READY_RESPONSES)
def ready() -> Response:
    """Ask Redis and storage, and look for a live worker of every stage."""
    to = services()
    redis_state, workers = _redis(to)
    storage_state = _storage(to)
    is_ready = redis_state == storage_state == "ok" and workers is not None and all(workers.values())
    response = jsonify(redis=redis_state, storage=storage_state, workers=workers, ready=is_ready)
    response.status_code = 200 if is_ready else 503
    response.headers["Cache-Control"] = "no-store"
    return response


@health.get("/version", summary="Which version is this?", responses=describe.VERSION_RESPONSES)
def which() -> Response:
    """Tell name and version."""
    return jsonify(name=PACKAGE, version=running_version())


def _redis(to: Services) -> tuple[str, dict[str, int] | None]:
    try:
        workers = to.presence.count()
        if to.broker is not None:
            to.broker.ping()
    except redis.RedisError as error:
        _log.warning("not ready", what="redis", reason=type(error).__name__)
        return "unavailable", None
    return "ok", workers


def _storage(to: Services) -> str:
    try:
        to.store.check()
    except StorageError as error:
        _log.warning("not ready", what="storage", reason=error.message)
        return "denied" if isinstance(error, StorageDenied) else "unavailable"
    return "ok"
