import pytest
import redis

from shared.errors import QueueUnavailable
from shared.queues import PRIORITIES, STAGES, Dispatcher, celery_app, queue_name, queues_of
from shared.records import SPLIT, Piece
from shared.settings import Settings


def test_a_worker_takes_interactive_work_first_and_what_is_nearest_to_its_end(clean_redis):
    app = celery_app(Settings(redis_url=clean_redis))
    kinds = [kind for stage in STAGES.values() for kind in stage]
    for priority in reversed(PRIORITIES):
        for kind in ("split", "restore", "vocode", "stitch"):
            Dispatcher(app).send("a" * 32, [Piece(kind, 0)], priority)
    taken = []
    with app.connection_for_read() as connection:
        queues = [app.amqp.queues.select_add(queue_name(kind, p)) for p in PRIORITIES for kind in kinds]
        with connection.Consumer(queues, callbacks=[lambda _, message: _take(message, taken)]) as consumer:
            consumer.qos(prefetch_count=1)
            while len(taken) < 8:
                connection.drain_events(timeout=5)
    assert [name.partition(".")[2] for name in taken] == [
        f"{i}-{kind}" for _ in PRIORITIES for i, kind in enumerate(("stitch", "vocode", "restore", "split"))
    ]
    assert [name.split("-")[1].split(".")[0] for name in taken] == ["interactive"] * 4 + ["bulk"] * 4


def _take(message, taken):
    taken.append(message.delivery_info["routing_key"])
    message.ack()


def test_services_of_two_prefixes_on_one_redis_have_their_own_queues(clean_redis):
    name = queue_name("split", "bulk")
    for prefix, jobs in (("a:", 1), ("b:", 2)):
        dispatcher = Dispatcher(celery_app(Settings(redis_url=clean_redis, key_prefix=prefix)))
        dispatcher.send("a" * 32, [SPLIT] * jobs, "bulk")
    with redis.Redis.from_url(clean_redis) as client:
        assert [client.llen(key) for key in (f"a:{name}", f"b:{name}", name)] == [1, 2, 0]


def test_a_worker_looks_only_at_the_queues_of_its_stages():
    assert {name.split("-")[-1] for name in queues_of(["audio"])} == {"split", "stitch"}
    assert {name.split("-")[-1] for name in queues_of(["restore", "vocode"])} == {"restore", "vocode"}


def test_a_broker_that_is_away_is_one_clear_error_without_its_url():
    dispatcher = Dispatcher(celery_app(Settings(broker_url="redis://:secret@127.0.0.1:1/0")))
    with pytest.raises(QueueUnavailable, match="VFQ_BROKER_URL") as caught:
        dispatcher.send("a" * 32, [SPLIT], "bulk")
    assert "secret" not in str(caught.value)
