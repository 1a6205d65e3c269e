"""What runs inside the processes under test: the product, with networks that tell each call, and messages that go
astray.

A server process imports this module once, before it has any thread, and forks each process from itself: with 50 deaths
in a few minutes, importing PyTorch anew would be most of the work.
"""

import ctypes
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import api.server
import worker.main
import worker.steps.restore
import worker.steps.split
import worker.steps.stitch
import worker.steps.vocode
from shared.queues import Dispatcher
from shared.records import Claim, JobRecords, Message, Piece, Refusal
from shared.settings import Settings, load_settings
from tests.support.standins import StandInRestorer, StandInVocoder
from worker.attempts.leases import Leases
from worker.engine import Engine, engine_of
from worker.models.interface import MelSpan, RestoreCondition
from worker.upkeep.reconciler import Reconciler
from worker.upkeep.sweeper import Sweeper

_PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True)
class Role:
    """
    What a process does.

    Attributes:
        stages: that a worker serves; none for the API
        environment: its settings
        log: file that takes its output
        calls: file that gets one byte for each call of a network
        call_seconds: least and most that a call takes
        drop, double: shares of the messages that are not sent, and that are sent twice
        plain: without leases, reconciler and sweeper

    """

    stages: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    calls: Path
    call_seconds: tuple[float, float]
    drop: float = 0.0
    double: float = 0.0
    plain: bool = False


def run(role: Role) -> None:
    """Play a role until SIGTERM; the target of a process that was just forked."""
    _settle_in(role)
    _mislay_messages(role)
    if role.plain:
        _be_plain()
    settings = load_settings()
    if role.stages:
        worker.main.run_worker(settings, role.stages, load=_engines(role))
    else:
        api.server.serve(settings, settings.api_host, settings.api_port)


def _settle_in(role: Role) -> None:
    """Take log and environment, a process group of one's own, and die with the server process."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.setsid()
    with role.log.open("ab") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    os.environ.update(role.environment)
    random.seed()


def _mislay_messages(role: Role) -> None:
    send = Dispatcher.send
    dice = random.Random()

    def sometimes(self: Dispatcher, messages: Iterable[Message]) -> None:
        for message in messages:
            drawn = dice.random()
            if drawn < role.drop:
                continue
            send(self, [message] * (2 if drawn > 1.0 - role.double else 1))

    Dispatcher.send = sometimes  # type: ignore[method-assign]


def _be_plain() -> None:
    """Leave what Celery does by itself: late acknowledgement, and messages that come again after a while."""
    claim = JobRecords.claim

    def by_anyone(self: JobRecords, job_id: str, piece: Piece, **given: object) -> Claim | Refusal:
        given["owner"] = "anyone"  # whoever asks has the piece already, so that nobody keeps others from it
        return claim(self, job_id, piece, **given)  # type: ignore[arg-type]

    JobRecords.claim = by_anyone  # type: ignore[method-assign]
    for helper in (Leases, Reconciler, Sweeper):
        helper.start = lambda _: None  # type: ignore[method-assign]


class _Calls:
    """Tells each call, which then takes a moment: long enough for a death to meet it."""

    def __init__(self, role: Role) -> None:
        self._file = os.open(role.calls, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._seconds = role.call_seconds

    def tell(self) -> None:
        os.write(self._file, b".")
        time.sleep(random.uniform(*self._seconds))


class _Restorer(StandInRestorer):
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    def restore(self, padded: torch.Tensor, conditions: Sequence[RestoreCondition]) -> torch.Tensor:
        self._calls.tell()
        return super().restore(padded, conditions)


class _Vocoder(StandInVocoder):
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    def vocode(self, mel: torch.Tensor, spans: Sequence[MelSpan]) -> torch.Tensor:
        self._calls.tell()
        return super().vocode(mel, spans)


def _engines(role: Role) -> Callable[[Settings, Collection[str]], Engine]:
    def load(settings: Settings, stages: Collection[str]) -> Engine:
        calls = _Calls(role)
        return engine_of(
            restorer=_Restorer(calls) if "restore" in stages else None,
            vocoder=_Vocoder(calls) if "vocode" in stages else None,
            max_batch_size=settings.max_batch_size,
            max_wait_ms=settings.max_wait_ms,
        )

    return load
