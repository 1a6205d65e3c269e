"""The whole service, as it stands in Redis when somebody asks."""

from collections.abc import Callable, Iterable, Iterator

import redis
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from shared import log
from shared.figures import ENDED, Figures
from shared.version import running_version

_log = log.logger("api")
_P = "voicefixer_queue_"


class ServiceCollector(Collector):
    """Reads the figures at each scrape; where Redis is away, there are none, and `up` says so."""

    def __init__(self, read: Callable[[], Figures]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Nothing is read when this is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Give all metrics."""
        yield InfoMetricFamily(f"{_P}build", "What runs here.", {"version": running_version()})
        try:
            figures = self._read()
        except redis.RedisError as error:
            _log.warning("no figures for now", reason=type(error).__name__)
            yield _gauge("up", "Whether Redis can be asked.", 0)
            return
        yield _gauge("up", "Whether Redis can be asked.", 1)
        yield from _jobs(figures)
        yield from _work(figures)
        yield from _rest(figures)


def _jobs(figures: Figures) -> Iterator[Metric]:
    open_jobs = GaugeMetricFamily(f"{_P}jobs_open", "Jobs that are not over.", labels=["priority"])
    for priority, number in figures.open_jobs.items():
        open_jobs.add_metric([priority], number)
    yield open_jobs
    yield _gauge("jobs_queued", "Jobs that no worker has begun.", figures.queued)
    yield _gauge("oldest_queued_job_seconds", "For how long the oldest of them has waited.", figures.oldest_queued)
    yield _counter("jobs_created", "Jobs that were taken in.", figures.counters.get("created", 0))
    ended = CounterMetricFamily(f"{_P}jobs_ended", "Jobs that are over, by how they ended.", labels=["status"])
    for state, name in ENDED.items():
        ended.add_metric([state], figures.counters.get(name, 0))
    yield ended
    restored = figures.counters.get("restored_seconds", 0)
    yield _counter("restored_audio_seconds", "Length of the recordings whose jobs have succeeded.", restored)


def _work(figures: Figures) -> Iterator[Metric]:
    workers = GaugeMetricFamily(f"{_P}workers", "Live workers, by the stage that they serve.", labels=["stage"])
    for stage, number in figures.workers.items():
        workers.add_metric([stage], number)
    yield workers
    messages = GaugeMetricFamily(f"{_P}queue_messages", "Messages that wait.", labels=["step", "priority"])
    for place, number in figures.messages.items():
        messages.add_metric(list(place), number)
    yield messages
    yield _gauge("pieces_running", "Pieces of jobs that workers have in hand.", figures.leases)
    yield _gauge("pieces_put_off", "Pieces that are tried again later.", figures.later)
    for name, text in (
        ("claimed", "Pieces that workers have taken."),
        ("completed", "Pieces that were done."),
        ("resent", "Pieces whose messages were lost and sent again."),
        ("expired", "Leases that lapsed: workers died, hung or lost Redis."),
        ("troubles", "Pieces that were put off."),
    ):
        yield _counter(f"pieces_{name}", text, figures.counters.get(name, 0))


def _rest(figures: Figures) -> Iterator[Metric]:
    yield _gauge("batches_open", "Batches that are not over.", figures.batches)
    yield _gauge("webhook_receivers_waiting", "Receivers that are owed a delivery.", figures.receivers)
    yield _gauge("webhook_overdue_seconds", "For how long the delivery longest due has waited.", figures.overdue)
    yield _gauge("redis_memory_bytes", "Memory that Redis uses.", figures.memory)
    yield _gauge("redis_memory_limit_bytes", "What it may use; 0 where there is no limit.", figures.memory_limit)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{_P}{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"{_P}{name}", text, value=value)
