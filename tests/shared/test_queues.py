from collections import Counter

import pytest
import redis
from kombu.transport.redis import Channel

from shared.errors import QueueUnavailable
from shared.queues import PRIORITIES, STAGES, Dispatcher, celery_app, lanes_of, queue_name, queues_of
from shared.records import SPLIT, Lane, Message, Piece
from shared.settings import Settings

JOB = "a" * 32


def message(kind, priority="interactive", *, again=False, number=1):
    return Message(JOB, Piece(kind, 0), Lane(kind, priority, again), number)


def take(app, count):
    """Take so many messages as a worker of all stages does; gives their queues and their arguments."""
    taken = []

    def note(body, one):
        taken.append((one.delivery_info["routing_key"], body[0]))
        one.ack()

    with app.connection_for_read() as connection:
        queues = [app.amqp.queues.select_add(queue) for queue in queues_of(STAGES)]
        with connection.Consumer(queues, callbacks=[note]) as consumer:
            consumer.qos(prefetch_count=1)
            while len(taken) < count:
                connection.drain_events(timeout=5)
    return taken


def test_a_worker_takes_interactive_work_first_then_what_had_its_turn_and_what_is_nearest_to_its_end(clean_redis):
    app = celery_app(Settings(redis_url=clean_redis))
    kinds = ("stitch", "vocode", "restore")
    for priority in reversed(PRIORITIES):
        for again in (False, True):
            Dispatcher(app).send(message(kind, priority, again=again) for kind in reversed(kinds))
    taken = [queue for queue, _ in take(app, 12)]
    assert taken == [queue_name(Lane(k, p, a)) for p in PRIORITIES for a in (True, False) for k in kinds]


def test_a_message_tells_its_piece_its_lane_and_its_number(clean_redis):
    app = celery_app(Settings(redis_url=clean_redis))
    sent = [Message(JOB, SPLIT, Lane("split", "bulk"), 7), message("vocode", again=True, number=3)]
    Dispatcher(app).send(sent)
    assert {tuple(arguments) for _, arguments in take(app, 2)} == {
        (JOB, None, "bulk:split", 7),
        (JOB, 0, "interactive:vocode:again", 3),
    }


def test_bulk_work_gets_a_turn_while_interactive_work_goes_on(clean_redis):
    app = celery_app(Settings(redis_url=clean_redis))
    Dispatcher(app).send([message("restore") for _ in range(16)] + [message("vocode", "bulk") for _ in range(2)])
    taken = [queue.partition("-")[0] for queue, _ in take(app, 18)]
    assert taken == (["0"] * 8 + ["1"]) * 2


def test_messages_of_one_lane_are_taken_in_their_order(clean_redis):
    """The reconciler tells lost ones by it."""
    app = celery_app(Settings(redis_url=clean_redis))
    Dispatcher(app).send(message("vocode", number=number) for number in range(1, 21))
    assert [arguments[3] for _, arguments in take(app, 20)] == list(range(1, 21))


def test_every_lane_has_a_queue_of_its_own():
    names = Counter(queue_name(lane) for lane in lanes_of(STAGES))
    assert len(names) == 4 * 2 * 2
    assert set(names.values()) == {1}
    assert queues_of(STAGES) == sorted(names)


def test_services_of_two_prefixes_on_one_redis_have_their_own_queues(clean_redis):
    name = queue_name(Lane("split", "bulk"))
    for prefix, jobs in (("a:", 1), ("b:", 2)):
        dispatcher = Dispatcher(celery_app(Settings(redis_url=clean_redis, key_prefix=prefix)))
        dispatcher.send([message("split", "bulk")] * jobs)
    with redis.Redis.from_url(clean_redis) as client:
        assert [client.llen(key) for key in (f"a:{name}", f"b:{name}", name)] == [1, 2, 0]


def test_a_worker_looks_only_at_the_queues_of_its_stages():
    assert {name.split("-")[-1] for name in queues_of(["audio"])} == {"split", "stitch"}
    assert {name.split("-")[-1] for name in queues_of(["restore", "vocode"])} == {"restore", "vocode"}


def test_a_broker_that_is_away_is_one_clear_error_without_its_url():
    dispatcher = Dispatcher(celery_app(Settings(broker_url="redis://:secret@127.0.0.1:1/0")))
    with pytest.raises(QueueUnavailable, match="VFQ_BROKER_URL") as caught:
        dispatcher.send([message("split", "bulk")])
    assert "secret" not in str(caught.value)


def test_a_connection_that_breaks_while_a_message_is_sent_is_told_as_any_other_outage(clean_redis, monkeypatch):
    put = Channel._put

    def break_and_put(channel, *args, **options):
        channel.close()  # as another thread's reset does; kombu then stumbles over its own None
        return put(channel, *args, **options)

    monkeypatch.setattr(Channel, "_put", break_and_put)
    with pytest.raises(QueueUnavailable, match="AttributeError"):
        Dispatcher(celery_app(Settings(redis_url=clean_redis))).send([message("restore")])
