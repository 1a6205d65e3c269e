"""The one-machine stack: Redis, API, an audio worker and a model worker as children of one process."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from cli import weights
from cli.errors import StackError
from cli.folder import DataFolder, claim
from cli.models import Models
from cli.network import free_port, reachable_url, require_free
from cli.processes import Program, own_command
from cli.recover import recover
from cli.redis_server import RedisServer
from cli.signals import StopSignals
from cli.supervisor import DRAIN_MARGIN_SECONDS, Supervisor
from shared.catalog import read_catalog
from shared.connections import open_records
from shared.jobs import Stage
from shared.settings import Settings, load_settings

_AUDIO, _MODELS = "audio worker", "model worker"
_READY_SECONDS = 300.0
_BROKEN_SECONDS = 30.0
_API_SECONDS = 40.0
_REDIS_SECONDS = 60.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class StackOptions:
    """What the command line asks; None leaves a choice to the environment, and then to the defaults."""

    data: Path
    host: str | None = None
    port: int | None = None
    models: Models = field(default_factory=Models)
    device: str | None = None


@dataclass(frozen=True)
class Running:
    """A stack that takes jobs."""

    url: str
    data: Path


def run_stack(options: StackOptions, *, announce: Callable[[Running], None], say: Callable[[str], None]) -> None:
    """Run the stack until Ctrl-C or SIGTERM; then let it finish what is in hand.

    Raises:
        SettingsError: if a setting is wrong.
        StackError: if it cannot start, or one of its parts dies again and again.
    """
    options.models.check()
    wanted = _wanted(options)
    settings = load_settings(**wanted)
    stages = read_catalog(settings).stages()
    weights.require(settings)
    with claim(options.data) as folder, StopSignals() as signals:
        stack = _Stack(folder, settings, stages, wanted, say)
        try:
            stack.start(signals)
            if not signals.count:
                folder.tell(pid=os.getpid(), url=stack.url)
                announce(Running(stack.url, folder.path))
                stack.tend(signals)
        finally:
            stack.stop(signals)


def _wanted(options: StackOptions) -> dict[str, object]:
    """Settings that the command line names."""
    host = options.host
    port = free_port(host or load_settings().api_host) if options.port == 0 else options.port
    named: dict[str, object] = {"api_host": host, "api_port": port, "device": options.device}
    named |= options.models.settings()
    return {name: value for name, value in named.items() if value is not None}


class _Stack:
    def __init__(
        self,
        folder: DataFolder,
        settings: Settings,
        stages: Sequence[Stage],
        wanted: dict[str, object],
        say: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._workers = {_AUDIO: "audio", _MODELS: ",".join(stages)}
        self._say = say
        self._environment = {f"VFQ_{name.upper()}": str(value) for name, value in wanted.items()}
        self._supervisor = Supervisor(say)
        self.url = reachable_url(settings.api_host, settings.api_port)

    def start(self, signals: StopSignals) -> None:
        require_free(self._settings.api_host, self._settings.api_port)
        if "storage_url" not in self._settings.model_fields_set:
            self._environment["VFQ_STORAGE_URL"] = self._folder.objects.as_uri()
        if "redis_url" not in self._settings.model_fields_set:
            self._start_redis()
        self._supervisor.start(self._program("api", "api"))
        for name, stages in self._workers.items():
            self._supervisor.start(self._program(name, "worker", "--stages", stages))
        self._wait(signals)

    def tend(self, signals: StopSignals) -> None:
        while not signals.count:
            self._supervisor.tend()
            time.sleep(_POLL_SECONDS)
        self._say("Stopping: what is in hand is finished first (Ctrl-C again stops at once).")

    def stop(self, signals: StopSignals) -> None:
        """From the inside out, so that whatever still works has what it needs."""
        # Nobody asked: something is broken, and who needs it might wait for ever.
        seconds = self._settings.drain_seconds + DRAIN_MARGIN_SECONDS if signals.count else _BROKEN_SECONDS
        for names, limit in ((list(self._workers), seconds), (["api"], _API_SECONDS), (["redis"], _REDIS_SECONDS)):
            self._supervisor.drain(names, limit, lambda: signals.count > 1)

    def _start_redis(self) -> None:
        server = RedisServer(self._folder)
        self._environment["VFQ_REDIS_URL"] = server.url
        self._supervisor.start(server.program())
        server.wait(self._supervisor.check)
        self._recover()

    def _recover(self) -> None:
        """Where the file of Redis is gone, as from a copied data folder, jobs come back from the objects."""
        overrides = {name.lower().removeprefix("vfq_"): value for name, value in self._environment.items()}
        settings = load_settings(**overrides)
        if open_records(settings, retries=1).empty():
            recover(settings)

    def _program(self, name: str, *arguments: str) -> Program:
        log = self._folder.log(name.replace(" ", "-"))
        return Program(name=name, command=own_command(*arguments), log=log, environment=self._environment)

    def _wait(self, signals: StopSignals) -> None:
        """Wait until the API says that every stage has a worker; a part that dies meanwhile has its reasons."""
        deadline = time.monotonic() + _READY_SECONDS
        with httpx.Client(base_url=self.url, timeout=5, trust_env=False) as client:
            while not signals.count:
                self._supervisor.check()
                if _is_ready(client):
                    return
                if time.monotonic() > deadline:
                    raise StackError(
                        f"The stack is not ready after {_READY_SECONDS:.0f} s; see {self._folder.path}/logs."
                    )
                time.sleep(_POLL_SECONDS)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False
