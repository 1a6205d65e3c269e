"""How the service is: alive, ready, and of which version."""

from dataclasses import dataclass

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
    """Ask Redis and storage, and look for a live worker of every stage that there is a model for."""
    state = _look(services())
    response = jsonify(redis=state.redis, storage=state.storage, workers=state.workers, ready=state.ready)
    response.status_code = 200 if state.ready else 503
    response.headers["Cache-Control"] = "no-store"
    return response


@health.get("/health", summary="Is audio converted?", responses=describe.HEALTH_RESPONSES)
def of_harmony() -> Response:
    """Tell what `/readyz` does in the words of Harmony Speech Engine."""
    state = _look(services())
    response = jsonify(audio_conversion="healthy" if state.ready else f"unhealthy: {state.in_words()}")
    response.status_code = 200 if state.ready else 503
    response.headers["Cache-Control"] = "no-store"
    return response


@health.get("/version", summary="Which version is this?", responses=describe.VERSION_RESPONSES)
def which() -> Response:
    """Tell name and version."""
    return jsonify(name=PACKAGE, version=running_version())


@dataclass(frozen=True)
class _State:
    redis: str
    storage: str
    workers: dict[str, int] | None
    needed: tuple[str, ...]

    @property
    def ready(self) -> bool:
        return self.redis == self.storage == "ok" and not self._missing()

    def in_words(self) -> str:
        """Say what is wrong."""
        parts = [
            f"{name} is {state}" for name, state in (("Redis", self.redis), ("storage", self.storage)) if state != "ok"
        ]
        return "; ".join(parts + [f"no worker for {stage}" for stage in self._missing()])

    def _missing(self) -> list[str]:
        return [stage for stage in self.needed if self.workers is not None and not self.workers.get(stage)]


def _look(to: Services) -> _State:
    """Ask Redis and storage; workers are needed for audio and for each stage that there is a model for."""
    redis_state, workers = _redis(to)
    return _State(redis_state, _storage(to), workers, ("audio", *to.catalog.stages()))


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
