"""The order in which a worker looks at its queues."""

from shared.queues import STAGES, queues_of
from shared.turns import Turns

FIRST, AGAIN, BULK = "0-interactive.1-first.1-vocode", "0-interactive.0-again.2-restore", "1-bulk.1-first.1-vocode"


def take(turns, *, waiting):
    """Take the first message that waits, as kombu does."""
    used = next(queue for queue in turns.consume(10) if queue in waiting)
    assert turns.rotate(used) == used
    return used


def test_queues_are_looked_at_by_name():
    assert Turns([BULK, FIRST, AGAIN]).consume(3) == [AGAIN, FIRST, BULK]


def test_under_a_steady_stream_of_interactive_work_one_turn_in_nine_is_a_bulk_one_s():
    turns = Turns([FIRST, AGAIN, BULK])
    taken = [take(turns, waiting={FIRST, BULK}) for _ in range(27)]
    assert taken == ([FIRST] * 8 + [BULK]) * 3


def test_where_no_bulk_work_waits_nothing_waits_for_it():
    turns = Turns([FIRST, BULK])
    assert [take(turns, waiting={FIRST}) for _ in range(20)] == [FIRST] * 20
    assert take(turns, waiting={FIRST, BULK}) == FIRST


def test_a_bulk_turn_begins_the_count_anew():
    turns = Turns([FIRST, BULK])
    for _ in range(5):
        take(turns, waiting={FIRST})
    assert take(turns, waiting={BULK}) == BULK
    assert [take(turns, waiting={FIRST, BULK}) for _ in range(9)] == [FIRST] * 8 + [BULK]


def test_within_a_bulk_turn_the_order_is_the_same():
    turns = Turns(queues_of(STAGES))
    usual = turns.consume(100)
    for _ in range(8):
        turns.rotate(usual[0])
    bulk = [queue for queue in usual if "bulk" in queue]
    assert turns.consume(100) == bulk + [queue for queue in usual if queue not in bulk]


def test_a_worker_of_bulk_work_alone_has_its_order():
    turns = Turns([BULK])
    assert [take(turns, waiting={BULK}) for _ in range(20)] == [BULK] * 20


def test_queues_can_be_changed():
    turns = Turns()
    assert turns.consume(3) == []
    turns.update([BULK, FIRST])
    assert turns.consume(1) == [BULK], "kombu says how many there are"
    assert turns.consume(2) == [FIRST, BULK]
