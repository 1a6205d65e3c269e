"""Runs the other rooms in this process, or two workers beside each other."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cli.errors import UsageProblem
from cli.network import require_free
from cli.output import emit, say
from cli.processes import Program, own_command
from cli.signals import StopSignals
from cli.supervisor import DRAIN_MARGIN_SECONDS, Supervisor
from shared.catalog import read_catalog
from shared.settings import PREFIX, load_settings

_POLL_SECONDS = 0.2


def run_api(host: str | None, port: int | None, config: Path | None, *, as_json: bool) -> None:
    """Serve the API until SIGTERM."""
    settings = load_settings(**_named(api_host=host, api_port=port, config=config))
    require_free(settings.api_host, settings.api_port)
    from api.server import serve

    _announce({"host": settings.api_host, "port": settings.api_port}, as_json=as_json)
    serve(settings, settings.api_host, settings.api_port)


def run_workers(stages: str, config: Path | None, device: str | None, *, as_json: bool) -> None:
    """Serve stages until SIGTERM. Audio and model stages get a process each: either would starve the other."""
    named = _named(config=config, device=device)
    settings = load_settings(**named)
    wanted = _wanted(stages, read_catalog(settings).stages())
    models = [stage for stage in wanted if stage != "audio"]
    _announce({"stages": list(wanted)}, as_json=as_json)
    if models and "audio" in wanted:
        environment = {f"{PREFIX}{name.upper()}": str(value) for name, value in named.items()}
        _run_both([["audio"], models], environment, settings.drain_seconds + DRAIN_MARGIN_SECONDS)
        return
    from worker.main import run_worker

    run_worker(settings, wanted)


def _named(config: Path | None = None, **others: object) -> dict[str, object]:
    """Settings that the command line names."""
    named = {"config": str(config.absolute()) if config else None, **others}
    return {name: value for name, value in named.items() if value is not None}


def _wanted(stages: str, with_models: Sequence[str]) -> tuple[str, ...]:
    """Stages to serve; all are those for which there is a model."""
    from shared.queues import STAGES

    named = [stage.strip() for stage in stages.split(",") if stage.strip()]
    if "all" in named:
        wanted = ("audio", *with_models)
        if lacking := [stage for stage in STAGES if stage not in wanted]:
            say(f"There is no model for {' and '.join(lacking)} in VFQ_CONFIG (--config): serving {', '.join(wanted)}.")
        return wanted
    if not named or not set(named) <= set(STAGES):
        raise UsageProblem(f"--stages takes {', '.join(STAGES)} or all, with commas between; not {stages!r}.")
    return tuple(stage for stage in STAGES if stage in named)


def _run_both(groups: Sequence[Sequence[str]], environment: Mapping[str, str], drain_seconds: float) -> None:
    """Run a worker for each group; when one dies, the other stops too and whoever supervises us decides."""
    supervisor = Supervisor(say)
    names = [f"worker {','.join(group)}" for group in groups]
    with StopSignals() as signals:
        try:
            for name, group in zip(names, groups, strict=True):
                command = own_command("worker", "--stages", ",".join(group))
                supervisor.start(Program(name, command, environment=environment))
            while not signals.count:
                supervisor.check()
                time.sleep(_POLL_SECONDS)
        finally:
            supervisor.drain(names, drain_seconds, lambda: signals.count > 1)


def _announce(facts: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        emit({"pid": os.getpid(), **facts})
