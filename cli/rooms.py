"""Runs the other rooms in this process, or two workers beside each other."""

import os
import time
from collections.abc import Sequence

from cli.errors import UsageProblem
from cli.network import require_free
from cli.output import emit, say
from cli.processes import Program, own_command
from cli.signals import StopSignals
from cli.supervisor import DRAIN_MARGIN_SECONDS, Supervisor
from shared.settings import load_settings

_POLL_SECONDS = 0.2


def run_api(host: str | None, port: int | None, *, as_json: bool) -> None:
    """Serve the API until SIGTERM."""
    named = {name: value for name, value in (("api_host", host), ("api_port", port)) if value is not None}
    settings = load_settings(**named)
    require_free(settings.api_host, settings.api_port)
    from api.server import serve

    _announce({"host": settings.api_host, "port": settings.api_port}, as_json=as_json)
    serve(settings, settings.api_host, settings.api_port)


def run_workers(stages: str, *, as_json: bool) -> None:
    """Serve stages until SIGTERM. Audio and model stages get a process each: either would starve the other."""
    wanted = _parse(stages)
    settings = load_settings()
    models = [stage for stage in wanted if stage != "audio"]
    _announce({"stages": list(wanted)}, as_json=as_json)
    if models and "audio" in wanted:
        _run_both([["audio"], models], settings.drain_seconds + DRAIN_MARGIN_SECONDS)
        return
    from worker.main import run_worker

    run_worker(settings, wanted)


def _parse(stages: str) -> tuple[str, ...]:
    from shared.queues import STAGES

    named = [stage.strip() for stage in stages.split(",") if stage.strip()]
    if "all" in named:
        return tuple(STAGES)
    if not named or not set(named) <= set(STAGES):
        raise UsageProblem(f"--stages takes {', '.join(STAGES)} or all, with commas between; not {stages!r}.")
    return tuple(stage for stage in STAGES if stage in named)


def _run_both(groups: Sequence[Sequence[str]], drain_seconds: float) -> None:
    """Run a worker for each group; when one dies, the other stops too and whoever supervises us decides."""
    supervisor = Supervisor(say)
    names = [f"worker {','.join(group)}" for group in groups]
    with StopSignals() as signals:
        try:
            for name, group in zip(names, groups, strict=True):
                supervisor.start(Program(name, own_command("worker", "--stages", ",".join(group))))
            while not signals.count:
                supervisor.check()
                time.sleep(_POLL_SECONDS)
        finally:
            supervisor.drain(names, drain_seconds, lambda: signals.count > 1)


def _announce(facts: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        emit({"pid": os.getpid(), **facts})
