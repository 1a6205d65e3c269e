"""The whole service, as it stands in Redis when somebody asks."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import redis
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from shared import log
from shared.figures import Figures, Memory, Queues, read_figures, read_queues

_log = log.logger("api")
_P = "voicefixer_queue_"
#: The Redis with the records, and the one with the queues if that is another.
REDIS, BROKER = "redis", "broker"

Found = TypeVar("Found", Figures, Queues)


class ServiceCollector(Collector):
    """Reads the figures at each scrape; where a Redis is away, there are none of it, and `up` says so."""

    def __init__(self, client: redis.Redis, broker: redis.Redis | None, *, prefix: str) -> None:
        """Read the records with *client*, and the queues with *broker* if they lie elsewhere."""
        self._client = client
        self._broker = broker
        self._prefix = prefix

    def describe(self) -> Iterable[Metric]:
        """Nothing is read when this is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Give all metrics."""
        place = BROKER if self._broker else REDIS
        figures = _asked(REDIS, lambda: read_figures(self._client, prefix=self._prefix))
        queues = None
        if figures or self._broker:  # one that did not answer is not asked again
            queues = _asked(place, lambda: read_queues(self._broker or self._client, prefix=self._prefix))
        up = {REDIS: figures is not None, place: queues is not None}
        yield _by_part("up", "Whether this part can be asked.", up)
        memory: dict[str, Memory] = {}
        if figures:
            memory[REDIS] = figures.memory
            yield from (*_jobs(figures), *_pieces(figures), *_workers(figures), *_webhooks(figures))
        if queues:
            memory[place] = queues.memory
            yield _messages(queues)
        used = {part: one.used for part, one in memory.items()}
        limit = {part: one.limit for part, one in memory.items()}
        yield _by_part("redis_memory_bytes", "Memory that this Redis uses.", used)
        yield _by_part("redis_memory_limit_bytes", "What it may use; 0 where there is no limit.", limit)


def _asked(part: str, read: Callable[[], Found]) -> Found | None:
    try:
        return read()
    except redis.RedisError as error:
        _log.warning("no figures for now", part=part, reason=type(error).__name__)
        return None


def _by_part(name: str, text: str, values: Mapping[str, float]) -> Metric:
    gauges = _gauges(name, text, "part")
    for part, value in values.items():
        gauges.add_metric([part], value)
    return gauges


def _jobs(figures: Figures) -> Iterator[Metric]:
    jobs = _gauges("jobs_open", "Jobs that are not over.", "priority", "status")
    for (priority, status), number in figures.open.items():
        jobs.add_metric([priority, status], number)
    yield jobs
    oldest = _gauges("oldest_queued_job_seconds", "For how long the oldest queued job has waited.", "priority")
    for priority, seconds in figures.oldest.items():
        oldest.add_metric([priority], seconds)
    yield oldest
    yield _counter("jobs_created", "Jobs that were taken in.", figures.created)
    ended = _counters("jobs_ended", "Jobs that are over, by how they ended.", "status")
    for status, number in figures.ended.items():
        ended.add_metric([status], number)
    yield ended
    restored = figures.restored_seconds
    yield _counter("restored_audio_seconds", "Length of the recordings whose jobs have succeeded.", restored)
    yield _gauge("batches_open", "Batches that are not over.", figures.batches)


def _pieces(figures: Figures) -> Iterator[Metric]:
    yield _gauge("pieces_running", "Pieces of jobs that workers have in hand.", figures.leases)
    yield _gauge("pieces_put_off", "Pieces that are tried again later.", figures.later)
    for word, text in (
        ("claimed", "Pieces that workers have taken."),
        ("completed", "Pieces that were done."),
        ("resent", "Pieces whose messages were lost and sent again."),
        ("expired", "Leases that lapsed: workers died, hung or lost Redis."),
        ("troubles", "Pieces that were put off."),
    ):
        yield _counter(f"pieces_{word}", text, figures.pieces[word])


def _workers(figures: Figures) -> Iterator[Metric]:
    workers = _gauges("workers", "Live workers, by the stage that they serve.", "stage")
    for stage, number in figures.workers.items():
        workers.add_metric([stage], number)
    yield workers


def _webhooks(figures: Figures) -> Iterator[Metric]:
    yield _gauge("webhook_deliveries_pending", "Deliveries that are to be sent.", figures.owed)
    yield _gauge("webhook_receivers_waiting", "Receivers that are owed a delivery.", figures.receivers)
    yield _gauge("webhook_overdue_seconds", "For how long the delivery longest due has waited.", figures.overdue)
    ended = _counters("webhook_deliveries_ended", "Deliveries that are over, by how they ended.", "state")
    for state, number in figures.deliveries.items():
        ended.add_metric([state], number)
    yield ended


def _messages(queues: Queues) -> Metric:
    messages = _gauges("queue_messages", "Messages that wait for a worker.", "step", "priority")
    for place, number in queues.messages.items():
        messages.add_metric(list(place), number)
    return messages


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{_P}{name}", text, value=value)


def _gauges(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_P}{name}", text, labels=labels)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"{_P}{name}", text, value=value)


def _counters(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"{_P}{name}", text, labels=labels)
