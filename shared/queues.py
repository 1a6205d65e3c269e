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
from shared.records import Kind, Lane, Message
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


def queue_name(lane: Lane) -> str:
    """Celery's queue of a lane.

    Workers look at their queues in the order of the names: first by priority, then what had its turn before, then
    what is nearest to a job's end.
    """
    turn = "0-again" if lane.again else "1-first"
    return f"{PRIORITIES.index(lane.priority)}-{lane.priority}.{turn}.{_ORDER.index(lane.kind)}-{lane.kind}"


def lanes_of(stages: Iterable[str]) -> list[Lane]:
    """Lanes of a worker in the order in which it looks at them."""
    kinds = [kind for stage in set(stages) for kind in STAGES[stage]]
    lanes = [Lane(kind, priority, again) for kind in kinds for priority in PRIORITIES for again in (True, False)]
    return sorted(lanes, key=queue_name)


def queues_of(stages: Iterable[str]) -> list[str]:
    """Queues of a worker in the order in which it looks at them."""
    return [queue_name(lane) for lane in lanes_of(stages)]


def celery_app(settings: Settings) -> Celery:
    """Make a Celery application on the broker, without tasks.

    The choices are explained in docs/architecture.md: no result backend, late acknowledgement, no prefetch,
    no ETA; queues are looked at in the order of `shared.turns`.
    """
    app = Celery("voicefixer-queue", broker=settings.celery_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        # A message is given back when its work has ended; come again meanwhile, it meets a live lease and is dropped.
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
            "unacked_mutex_expire": 10,  # who restores may be killed meanwhile
            "queue_order_strategy": "shared.turns:Turns",
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

    def send(self, messages: Iterable[Message]) -> None:
        """Wake workers for pieces.

        Raises:
            QueueUnavailable: if the broker does not take a message after a few tries; the reconciler sends it later.
        """
        for message in messages:
            piece = message.piece
            try:
                self._app.send_task(
                    task_name(piece.kind),
                    args=[message.job_id, piece.index, str(message.lane), message.number],
                    queue=queue_name(message.lane),
                    retry=True,
                    retry_policy={
                        "max_retries": 5,
                        "interval_start": 0.1,
                        "interval_step": 0.5,
                        "interval_max": 2,
                    },
                )
            # AttributeError: kombu's own, of a channel whose connection breaks while it is used.
            except (OperationalError, RedisError, AttributeError) as error:
                raise QueueUnavailable(
                    "the broker takes no messages right now; look at VFQ_BROKER_URL (or VFQ_REDIS_URL) "
                    f"({type(error).__name__})"
                ) from error
