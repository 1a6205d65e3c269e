"""A worker process: connect, load the models, then take work."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import structlog
from celery import Celery, signals
from celery.platforms import SecurityWarning
from redis.exceptions import RedisError

from shared.catalog import Catalog, read_catalog
from shared.connections import (
    open_batches,
    open_deliveries,
    open_endpoints,
    open_outgoing,
    open_post,
    open_presence,
    open_records,
    open_repairs,
    open_retention,
    open_store,
)
from shared.errors import SettingsError
from shared.jobs import Stage, Status
from shared.log import configure
from shared.queues import STAGES, Dispatcher, celery_app, queues_of
from shared.records import JobRecords, connect
from shared.redis_check import check_redis
from shared.settings import Settings
from worker.attempts.drain import Drain
from worker.attempts.leases import Leases
from worker.batches import BatchLeader, batch_desk
from worker.context import Context
from worker.handover import Handover
from worker.heap import share_one_heap
from worker.tasks import register, worker_name
from worker.upkeep.reconciler import Broker, Reconciler
from worker.upkeep.sweeper import Sweeper
from worker.webhooks.courier import Courier
from worker.weights import hash_weights

if TYPE_CHECKING:
    from worker.engine import Engine

    Load = Callable[[Settings, Collection[str]], Engine]

log = structlog.get_logger()

_MODEL_STAGES: tuple[Stage, ...] = ("restore", "vocode")
_BEAT_SECONDS = 3.0
_PRESENCE_SECONDS = 15.0
#: Exit status when a batch exceeds its deadline; a supervisor starts the worker anew.
_HUNG = 70


def run_worker(settings: Settings, stages: Collection[str], *, load: Load | None = None) -> None:
    """Serve *stages* until SIGTERM or Ctrl-C, which finish what is in hand.

    Models are loaded in this process: a pool of threads shares them, and loading before a fork would hang every task.
    *load* makes the engine; by default the one that the settings name, with all models that are not to wait.

    Raises:
        SettingsError: if there is no model for one of the stages.
        ModelError: if weights are missing or wrong.
        ServiceError: if Redis or storage cannot be used.
    """
    configure(settings)
    share_one_heap()
    # Without a receiver Celery would put its own handlers and level in place of ours.
    signals.setup_logging.connect(_keep_logging)
    # Running as root is dangerous where messages are pickled; ours are JSON.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    catalog = _catalog(settings, stages)
    check_redis(settings)
    stopping = threading.Event()
    # Whoever works waits for a Redis that is away as long as the process lives: nothing else could be done meanwhile.
    records = open_records(settings, patient=lambda: not stopping.is_set())
    store = open_store(settings)
    store.check()
    if set(stages) & set(_MODEL_STAGES):
        os.nice(settings.nice)  # before any thread begins, for each has its own
    engine = _engine(settings, stages, catalog, load)
    app = celery_app(settings)
    kinds = [kind for stage in stages for kind in STAGES[stage]]
    hasty = open_records(settings, retries=1, timeout=3.0)
    leases = Leases(hasty, every=settings.lease_seconds / 4)
    beat = _Beat(settings, stages, engine, leases)
    mels = _handover(settings, stages, beat, hasty)
    dispatcher = Dispatcher(app)
    context = Context(
        settings,
        records,
        open_retention(settings),
        open_batches(settings),
        store,
        dispatcher,
        leases,
        catalog,
        engine,
        mels,
        outgoing=open_outgoing(settings),
    )
    register(app, context, kinds)
    drain = Drain(leases, hasty, dispatcher, seconds=settings.drain_seconds, over=stopping)
    with beat, _helpers(context, app, drain, stages):
        app.worker_main(_arguments(settings, stages, engine))
        stopping.set()
    if engine is not None:
        engine.close()


def _arguments(settings: Settings, stages: Collection[str], engine: Engine | None) -> list[str]:
    """Give Celery's command line."""
    return [
        "--quiet",
        "worker",
        "--pool=threads",
        f"--concurrency={_concurrency(settings, stages, engine)}",
        f"--queues={','.join(queues_of(stages))}",
        f"--hostname={worker_name()}",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
    ]


@contextmanager
def _helpers(ctx: Context, app: Celery, drain: Drain, stages: Collection[str]) -> Iterator[None]:
    """Run the threads that keep leases, repair, sweep and call back, from when the worker takes work."""
    settings = ctx.settings
    broker = Broker(connect(settings.celery_url, retries=1, timeout=5.0), prefix=settings.key_prefix)
    reconciler = Reconciler(open_repairs(settings), Dispatcher(app), broker)
    sweeper = Sweeper(ctx, open_repairs(settings))
    batches = BatchLeader(batch_desk(ctx, Dispatcher(app)), open_repairs(settings))
    courier = _courier(ctx) if "audio" in stages else None

    def begin(**_: object) -> None:
        for helper in (ctx.leases, reconciler, sweeper, batches):
            helper.start()
        if courier:
            courier.start()

    signals.worker_ready.connect(begin, weak=False)
    signals.worker_shutting_down.connect(drain.begin, weak=False)
    try:
        yield
    finally:
        signals.worker_ready.disconnect(begin)
        signals.worker_shutting_down.disconnect(drain.begin)
        if courier:
            courier.stop()
        for helper in (batches, sweeper, reconciler, ctx.leases):
            helper.stop()


def _courier(ctx: Context) -> Courier:
    """Make what sends webhooks; beside splitting and stitching a process has little to do but wait."""
    settings = ctx.settings
    client = connect(settings.redis_url, retries=1, timeout=5.0)
    return Courier(
        open_deliveries(settings, client=client),
        open_endpoints(settings, ctx.store, client),
        open_post(settings),
        schedule=settings.webhook_schedule,
        timeout=settings.webhook_timeout_seconds,
        concurrency=settings.webhook_concurrency,
        per_host=settings.webhook_per_host,
    )


def _keep_logging(**_: object) -> None:
    """Celery asks its receivers to set up logging; ours is. Two of its lines for each message are too many."""
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _catalog(settings: Settings, stages: Collection[str]) -> Catalog:
    """Read which models there are, and tell what whoever started us should know of their file."""
    catalog = read_catalog(settings)
    for note in catalog.notes:
        log.warning(note)
    for stage in _MODEL_STAGES:
        if stage in stages and not catalog.of(stage):
            raise SettingsError(f"VFQ_CONFIG (--config) names no model for the stage {stage}: leave it out of --stages")
    return catalog


def _engine(settings: Settings, stages: Collection[str], catalog: Catalog, load: Load | None) -> Engine | None:
    if not set(stages) & set(_MODEL_STAGES):
        return None
    if load is not None:
        return load(settings, stages)
    # While torch is imported, which keeps but one core busy.
    hash_weights((entry for entry in catalog.entries if entry.stage in stages), settings)
    from worker.engine.load import load_engine  # torch: an audio worker starts sooner and smaller without it

    return load_engine(settings, stages, catalog)


def _handover(settings: Settings, stages: Collection[str], beat: _Beat, records: JobRecords) -> Handover | None:
    """Where mels stay for the vocoder of this process, if it has one: while no other vocoder lives, that can be all."""
    if not {"restore", "vocode"} <= set(stages):
        return None
    in_memory = settings.mel_handover == "memory"
    return Handover(
        settings.mel_memory_mib * 2**20,
        suffices=lambda: in_memory and beat.alone,
        over=lambda job_id: records.state(job_id) is not Status.PROCESSING,
    )


def _concurrency(settings: Settings, stages: Collection[str], engine: Engine | None) -> int:
    """Twice what is computed at once: while one half is computed, the other is read and written."""
    if set(stages) == {"audio"}:
        return settings.audio_concurrency
    return 2 * max(1, engine.at_once if engine else 0)


class _Beat:
    """Tells Redis that this worker lives, from when it takes work, as long as its model thread does.

    If that hangs, or a piece takes too long, it ends the process.

    Attributes:
        alone: as far as was known at the last beat, no other worker serves the stage `vocode`.
    """

    alone = False

    def __init__(self, settings: Settings, stages: Collection[str], engine: Engine | None, leases: Leases) -> None:
        # In haste: neither the watch over the model thread nor the process's end is to wait for a Redis that is away.
        self._presence = open_presence(settings, retries=1, timeout=_BEAT_SECONDS)
        self._stages = tuple(stages)
        self._engine = engine
        self._deadline = settings.batch_deadline_seconds
        self._leases = leases
        self._piece_deadline = settings.piece_deadline_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)

    def __enter__(self) -> _Beat:
        # Not before: until then a signal would end the process without a word.
        signals.worker_ready.connect(self.begin, weak=False)
        return self

    def __exit__(self, *_: object) -> None:
        signals.worker_ready.disconnect(self.begin)
        self._stop.set()
        if not self._thread.ident:
            return
        self._thread.join()
        with suppress(RedisError):  # its word lapses by itself
            self._presence.leave(worker_name())

    def begin(self, **_: object) -> None:
        """Say that the worker is ready, now and every few seconds."""
        log.info("worker ready", stages=sorted(self._stages), queues=queues_of(self._stages), pid=os.getpid())
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._watch()
            try:
                self._presence.announce(worker_name(), self._stages, ttl=_PRESENCE_SECONDS)
                self.alone = self._presence.count()["vocode"] == 1
            except Exception as error:  # Redis may be away; the next beat tells it
                self.alone = False
                log.warning("presence not announced", reason=type(error).__name__)
            self._stop.wait(_BEAT_SECONDS)

    def _watch(self) -> None:
        if self._leases.longest() > self._piece_deadline:
            log.error("a piece takes too long; the process ends", deadline_seconds=self._piece_deadline)
            os._exit(_HUNG)
        if self._engine is None:
            return
        if not self._engine.alive() or self._engine.busy_seconds() > self._deadline:
            log.error("the model thread hangs; the process ends", deadline_seconds=self._deadline)
            os._exit(_HUNG)
