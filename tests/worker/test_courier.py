"""The courier against real receivers, a real Redis and a folder: what is owed arrives, whatever they answer."""

import time
from contextlib import ExitStack
from email.utils import formatdate

import pytest
from standardwebhooks import Webhook

from shared.errors import StorageUnavailable
from shared.jobs import Status
from shared.outgoing import AllowList, Answer, Outgoing, Policy
from shared.records import SPLIT, JobRecords, connect
from shared.storage import open_storage
from shared.webhooks.deliveries import Deliveries
from shared.webhooks.endpoints import Endpoints
from shared.webhooks.message import Message
from shared.webhooks.posting import posting
from shared.webhooks.sending import send
from shared.webhooks.shelf import Shelf
from tests.shared.conftest import ERROR, PREFIX, create, taken
from tests.support.receiver import Receiver, Reply
from worker.webhooks.courier import Courier
from worker.webhooks.receivers import Receivers
from worker.webhooks.schedule import next_delay

OWNER = "local"
TIMEOUT = 0.6


class House:
    """Records, deliveries, endpoints and couriers, and receivers beside them."""

    def __init__(self, url, folder, stack) -> None:
        self.client = connect(url)
        self.records = JobRecords(self.client, prefix=PREFIX)
        self.deliveries = Deliveries(self.client, prefix=PREFIX, keep=100.0)
        self.store = open_storage(f"file://{folder}/store")
        self.endpoints = Endpoints(Shelf(self.store), self.deliveries, self.client, prefix=PREFIX, grace=60)
        self.outgoing = Outgoing(Policy(allow=AllowList.of(["127.0.0.1"])))
        self.couriers = []
        self._stack = stack

    def receiver(self) -> Receiver:
        return self._stack.enter_context(Receiver())

    def courier(self, *, schedule=(0, 0.1, 0.1, 0.1), concurrency=16, per_host=4, outgoing=None, start=True) -> Courier:
        made = Courier(
            self.deliveries,
            self.endpoints,
            posting(outgoing or self.outgoing, timeout=TIMEOUT),
            schedule=schedule,
            timeout=TIMEOUT,
            concurrency=concurrency,
            per_host=per_host,
        )
        if start:
            made.start()
            self._stack.callback(made.stop)
        return made

    def job(self, url=None, **options) -> str:
        """A job that fails at once."""
        job_id = create(self.records, webhook=url, **options)
        assert self.records.fail(job_id, ERROR, taken(self.records, job_id, SPLIT))
        return job_id

    def settled(self, job_id, *, count=1, seconds=8.0):
        """Wait until nothing of it is pending; gives its deliveries."""
        end = time.monotonic() + seconds
        while True:
            found = self.deliveries.of(job_id)
            if len(found) == count and all(one.state != "pending" for one in found):
                return found
            assert time.monotonic() < end, found
            time.sleep(0.02)


@pytest.fixture
def house(clean_redis, tmp_path):
    with ExitStack() as stack:
        yield House(clean_redis, tmp_path, stack)


def test_a_healthy_receiver_has_it_within_a_second(house):
    receiver = house.receiver()
    house.courier()
    time.sleep(0.3)
    began = time.monotonic()
    job_id = house.job(receiver.url)
    [call] = receiver.until(1)
    assert call.at - began < 1.0
    event = Webhook(house.endpoints.secrets(OWNER).current).verify(call.body, call.headers)
    assert (event["type"], event["data"]["id"], event["data"]["status"]) == ("job.failed", job_id, "failed")
    assert event["data"]["sequence"] == house.records.get(job_id).version
    [one] = house.settled(job_id)
    assert (one.state, one.id, [line.outcome for line in one.log]) == ("delivered", call.id, ["200"])


def test_an_endpoint_gets_it_signed_with_its_own_secret(house):
    receiver = house.receiver()
    endpoint = house.endpoints.create(OWNER, url=receiver.url, events=("job.failed",))
    house.courier()
    house.job()
    [call] = receiver.until(1)
    assert Webhook(endpoint.secrets.current).verify(call.body, call.headers)["type"] == "job.failed"


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(500), "500"),
        (Reply(301, {"Location": "/elsewhere"}), "301"),
        (Reply(404), "404"),
        (Reply(0), None),
        (Reply(200, after=TIMEOUT + 0.3), "url_timed_out"),
        (Reply(drip=0.05), "url_timed_out"),
    ],
)
def test_only_2xx_is_success_and_the_rest_is_tried_again(house, reply, outcome):
    receiver = house.receiver()
    replies = [reply, Reply(204)]
    receiver.behave = lambda _: replies.pop(0)
    house.courier()
    job_id = house.job(receiver.url)
    first, second = receiver.until(2)
    [one] = house.settled(job_id)
    assert one.state == "delivered"
    assert (first.id, first.body) == (second.id, second.body)
    assert {first.path, second.path} == {"/hook"}, "a redirect is not followed"
    assert outcome in (None, one.log[0].outcome)
    assert one.log[1].outcome == "204"


def test_after_the_last_attempt_it_has_failed(house):
    receiver = house.receiver()
    receiver.behave = lambda _: Reply(503)
    house.courier(schedule=(0, 0.05, 0.05))
    [one] = house.settled(house.job(receiver.url))
    assert (one.state, one.attempts) == ("failed", 3)
    time.sleep(0.5)
    assert len(receiver.calls) == 3


def test_retry_after_is_waited_for(house):
    """With 429 and 503, not with others."""
    receivers = {status: house.receiver() for status in (429, 503, 500)}
    for status, receiver in receivers.items():
        replies = [Reply(status, {"Retry-After": "1"}), Reply()]
        receiver.behave = lambda _, replies=replies: replies.pop(0)
        house.job(receiver.url)
    house.courier()
    waited = {}
    for status, receiver in receivers.items():
        first, second = receiver.until(2)
        waited[status] = second.at - first.at >= 1.0
    assert waited == {429: True, 503: True, 500: False}


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7), ("-1", None), ("soon", None), ("", None), ("Sun, 06 Nov 1994 08:49:37 GMT", 0)]
)
def test_retry_after_is_seconds_or_a_date(text, seconds):
    answer = Answer(429, {"retry-after": text}, "")
    sent = send(lambda *_: answer, "https://a.example", Message({}, b""))
    assert (sent.retry_after, sent.ok) == (seconds, False)
    later = formatdate(time.time() + 60, usegmt=True)
    sent = send(lambda *_: Answer(503, {"retry-after": later}, ""), "https://a.example", Message({}, b""))
    assert 55 < sent.retry_after <= 60


def test_retry_after_is_capped():
    schedule = (0.0, 5.0, 300.0)
    assert next_delay(schedule, 1, retry_after=60) == 60
    assert next_delay(schedule, 1, retry_after=1e9) == 86_400
    assert 5 <= next_delay(schedule, 1) <= 5.5
    assert 300 <= next_delay(schedule, 2, retry_after=3) <= 330
    assert next_delay(schedule, 3, retry_after=3) is None


def test_410_disables_an_endpoint(house):
    receiver = house.receiver()
    receiver.behave = lambda _: Reply(410)
    endpoint = house.endpoints.create(OWNER, url=receiver.url, events=("job.started", "job.failed"))
    house.courier(per_host=1)
    job_id = house.job()
    first, second = house.settled(job_id, count=2)
    assert {first.state, second.state} == {"failed", "dropped"}
    assert len(receiver.calls) == 1
    now = house.endpoints.get(OWNER, endpoint.id)
    assert (now.enabled, now.disabled_reason) == (False, "gone")
    assert house.deliveries.of(house.job()) == []
    house.endpoints.change(now, {"enabled": True, "disabled_reason": None})
    receiver.behave = lambda _: Reply()
    assert [one.state for one in house.settled(house.job(), count=2)] == ["delivered"] * 2


def test_410_ends_a_hook(house):
    receiver = house.receiver()
    receiver.behave = lambda _: Reply(410)
    house.courier()
    job_id = create(house.records, webhook=receiver.url, webhook_events_filter=["job.started", "job.failed"])
    split = taken(house.records, job_id, SPLIT)
    [one] = house.settled(job_id)
    assert one.state == "failed"
    house.records.fail(job_id, ERROR, split)
    assert len(house.deliveries.of(job_id)) == 1


def test_slow_receivers_delay_nobody_else(house):
    """Six that never answer in time, with a hundred deliveries each, and one that is well."""
    slow = [house.receiver() for _ in range(6)]
    for receiver in slow:
        receiver.behave = lambda _: Reply(after=5.0)
        for _ in range(40):
            house.job(receiver.url)
    house.courier(concurrency=32, per_host=4)
    time.sleep(0.4)
    well = house.receiver()
    for _ in range(5):
        began = time.monotonic()
        house.job(well.url)
        count = len(well.calls)
        assert well.until(count + 1)[-1].at - began < 1.0
        time.sleep(0.2)


def test_a_receiver_that_gives_no_answer_gets_one_at_a_time():
    receivers = Receivers(most=10, room=4)
    assert (receivers.free(), receivers.rooms()) == (10, {})
    for _ in range(3):
        receivers.begin("a:80")
    assert (receivers.free(), receivers.rooms()) == (7, {"a:80": 1})
    receivers.end("a:80", answered=False)
    assert receivers.rooms() == {"a:80": 0}
    receivers.end("a:80", answered=None)
    receivers.end("a:80", answered=None)
    assert receivers.rooms() == {"a:80": 1}
    receivers.begin("a:80")
    receivers.end("a:80", answered=True)
    assert receivers.rooms() == {}
    assert receivers.wait_idle(0)


def test_what_a_dead_courier_had_in_hand_is_sent_by_another(house):
    receiver = house.receiver()
    job_id = house.job(receiver.url)
    [lost] = house.deliveries.claim(most=9, room=9, lease=1.0, rooms={})
    house.courier()
    time.sleep(0.5)
    assert receiver.calls == []
    [call] = receiver.until(1)
    assert call.id == lost.delivery.id
    [one] = house.settled(job_id)
    assert one.attempts == 1


@pytest.mark.parametrize("minutes", [10, -10])
def test_a_worker_whose_clock_is_off_signs_with_the_right_time(house, monkeypatch, minutes):
    receiver = house.receiver()
    courier = house.courier(start=False)
    right = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: right() + 60 * minutes)
        house.job(receiver.url)
        courier.look()
        [call] = receiver.until(1)
    assert Webhook(house.endpoints.secrets(OWNER).current).verify(call.body, call.headers)


def test_two_couriers_send_it_once(house):
    receiver = house.receiver()
    house.courier()
    house.courier()
    jobs = [house.job(receiver.url) for _ in range(20)]
    for job_id in jobs:
        house.settled(job_id)
    assert len(receiver.calls) == 20


def test_what_leads_inside_is_not_called(house):
    """It was out in the world when it was given; now its name leads to loopback."""
    receiver = house.receiver()
    house.courier(schedule=(0, 0.05), outgoing=Outgoing(Policy(resolve=lambda *_: ["127.0.0.1"])))
    [one] = house.settled(house.job(f"http://rebound.example:{receiver.port}/"))
    assert (one.state, {line.outcome for line in one.log}) == ("failed", {"url_refused"})
    assert receiver.calls == []


def test_storage_that_is_away_uses_no_attempt_up(house, monkeypatch):
    receiver = house.receiver()
    monkeypatch.setattr("worker.webhooks.courier._AGAIN_SECONDS", 0.1)
    read, away = house.store.read, [True]

    def unavailable(*args):
        if away[0]:
            raise StorageUnavailable("away")
        return read(*args)

    monkeypatch.setattr(house.store, "read", unavailable)
    house.deliveries.note_endpoints_known()
    house.courier()
    job_id = house.job(receiver.url)
    time.sleep(0.8)
    away[0] = False
    [one] = house.settled(job_id)
    assert (one.state, one.attempts) == ("delivered", 1)


def test_a_redis_that_was_lost_learns_the_endpoints_from_storage(house):
    receiver = house.receiver()
    house.endpoints.create(OWNER, url=receiver.url, events=("job.failed",))
    house.client.flushall()
    courier = house.courier(start=False)
    courier.look()
    house.job()
    courier.look()
    receiver.until(1)


def test_a_deleted_endpoint_gets_nothing_more(house):
    receiver = house.receiver()
    endpoint = house.endpoints.create(OWNER, url=receiver.url, events=("job.failed",))
    job_id = house.job()
    house.endpoints.delete(endpoint)
    house.courier()
    [one] = house.settled(job_id)
    assert one.state == "dropped"
    assert receiver.calls == []


def test_progress_that_is_late_is_not_tried_again(house):
    receiver = house.receiver()
    receiver.behave = lambda _: Reply(500)
    house.courier()
    job_id = create(house.records, webhook=receiver.url, webhook_events_filter=["job.progress"])
    sizes = {"pieces": 2, "reach": 1, "window": 4, "seconds": 3.0}
    house.records.complete_split(job_id, taken(house.records, job_id, SPLIT), **sizes)
    [one] = house.settled(job_id)
    assert (one.type, one.attempts) == ("job.progress", 1)
    assert house.records.state(job_id) is Status.PROCESSING


def test_no_secret_is_logged(house, capfd):
    receiver = house.receiver()
    receiver.behave = lambda _: Reply(500)
    house.courier(schedule=(0, 0.05))
    house.settled(house.job(receiver.url + "?token=sesame"))
    written = "".join(capfd.readouterr())
    assert "a delivery failed" in written
    assert "sesame" not in written
    assert "whsec_" not in written
