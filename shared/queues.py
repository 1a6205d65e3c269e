"""The Celery queues: names of tasks and queues, the broker's configuration, and sending.

A message carries a job's id and a window's number, nothing else; what is true is in the records.
"""

from collections.abc import Iterable
from typing import Final

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from shared.errors import QueueUnavailable
from shared.jobs import Priority
from shared.records import Kind, Piece
from shared.settings import Settings

#: What a worker may serve, and the kinds of work that belong to it.
STAGES: Final[dict[str, tuple[Kind, ...]]] = {
    "audio": ("stitch", "split"),
    "restore": ("restore",),
    "vocode": ("vocode",),
}
PRIORITIES: Final[tuple[Priority, ...]] = ("interactive", "bulk")
#: Nearest to a job's end first: what is begun is finished before more is begun.
_ORDER: Final[tuple[Kind, ...]] = ("stitch", "vocode", "restore", "split")


def task_name(kind: Kind) -> str:
    """Name under which workers register the task."""
    return f"voicefixer.{kind}"


def queue_name(kind: Kind, priority: Priority) -> str:
    """Queue of one kind of work at one priority.

    Workers look at their queues in the order of the names: kombu keeps them in a set, so its order "priority"
    would be any.
    """
    return f"{PRIORITIES.index(priority)}-{priority}.{_ORDER.index(kind)}-{kind}"


def queues_of(stages: Iterable[str]) -> list[str]:
    """Queues of a worker in the order in which it looks at them."""
    kinds = [kind for stage in set(stages) for kind in STAGES[stage]]
    return sorted(queue_name(kind, priority) for priority in PRIORITIES for kind in kinds)


def celery_app(settings: Settings) -> Celery:
    """Make a Celery application on the broker, without tasks.

    The choices are explained in docs/architecture.md: no result backend, late acknowledgement, no prefetch,
    no ETA; queues are looked at in a fixed order.
    """
    app = Celery("voicefixer-queue", broker=settings.celery_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_acks_late=True,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_create_missing_queues=True,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            # Two services on one Redis must not take each other's messages.
            "global_keyprefix": settings.key_prefix,
            "visibility_timeout": settings.visibility_timeout,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "queue_order_strategy": "sorted",
            "priority_steps": [0],  # messages have none of their own: one key a queue to wait at, not four
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
        },
    )
    return app


class Dispatcher:
    """Sends pieces to the workers."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def send(self, job_id: str, pieces: Iterable[Piece], priority: Priority) -> None:
        """Wake workers for these pieces.

        Raises:
            QueueUnavailable: if the broker does not take a message after a few tries.
        """
        for piece in pieces:
            args = [job_id] if piece.index is None else [job_id, piece.index]
            try:
                self._app.send_task(
                    task_name(piece.kind),
                    args=args,
                    queue=queue_name(piece.kind, priority),
                    retry=True,
                    retry_policy={
                        "max_retries": 5,
                        "interval_start": 0.1,
                        "interval_step": 0.5,
                        "interval_max": 2,
                    },
                )
            except (OperationalError, RedisError) as error:
                raise QueueUnavailable(
                    "the broker takes no messages right now; look at VFQ_BROKER_URL (or VFQ_REDIS_URL) "
                    f"({type(error).__name__})"
                ) from error
