"""Endpoints and secrets: they outlast Redis, change one at a time, and are told to nobody."""

import threading

import pytest

from shared.errors import QueueUnavailable, StorageError
from shared.records import SPLIT
from shared.webhooks.deliveries import Deliveries
from shared.webhooks.endpoints import Endpoints
from shared.webhooks.shelf import Shelf
from tests.shared.conftest import ERROR, PREFIX, create, taken

URL = "https://example.org/hook?token=sesame"


@pytest.fixture
def deliveries(client):
    return Deliveries(client, prefix=PREFIX)


@pytest.fixture
def endpoints(store, deliveries, client):
    return Endpoints(Shelf(store), deliveries, client, prefix=PREFIX, grace=60)


def make(endpoints, owner="k1", **more):
    return endpoints.create(owner, **{"url": URL, "events": ("job.failed",), **more})


def owed(records, deliveries):
    job_id = create(records)
    records.fail(job_id, ERROR, taken(records, job_id, SPLIT))
    return [one.target for one in deliveries.of(job_id)]


def test_an_endpoint_is_of_its_owner(endpoints):
    one, other = make(endpoints), make(endpoints, "k2")
    assert endpoints.get("k1", one.id) == one
    assert endpoints.get("k2", one.id) is None
    assert endpoints.find(other.id) == other
    assert endpoints.find("we0") is None
    assert endpoints.of("k1") == [one]
    assert endpoints.of("k") == [], "k is the beginning of k1"
    assert one.secrets.current != other.secrets.current


def test_all_outlasts_redis(endpoints, client, records, deliveries):
    kept, off, gone = (make(endpoints, "local") for _ in range(3))
    secret = endpoints.secrets("local")
    endpoints.disable(off, "gone")
    endpoints.delete(gone)
    assert owed(records, deliveries) == [kept.id]
    client.flushall()
    assert owed(records, deliveries) == []
    endpoints.ensure_known()
    assert owed(records, deliveries) == [kept.id]
    assert endpoints.secrets("local") == secret
    assert endpoints.get("local", kept.id) == kept


def test_a_change_keeps_what_it_does_not_name(endpoints):
    one = make(endpoints)
    rotated = endpoints.rotate(one)
    changed = endpoints.change(one, {"events": ("job.succeeded",)})
    assert changed.secrets == rotated.secrets
    assert changed.secrets.previous == one.secrets.current
    assert (changed.revision, changed.url, changed.events) == (3, URL, ("job.succeeded",))
    endpoints.delete(one)
    assert endpoints.change(one, {"events": ("job.failed",)}) is None
    assert endpoints.rotate(one) is None
    assert endpoints.of("k1") == []


def test_changes_at_once_are_all_made(endpoints):
    one = make(endpoints)
    threads = [threading.Thread(target=endpoints.rotate, args=[one]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert endpoints.get("k1", one.id).revision == 6


def test_the_secret_of_an_owner_is_made_once(endpoints):
    found = []
    threads = [threading.Thread(target=lambda: found.append(endpoints.secrets("k1"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.current for one in found}) == 1
    rotated = endpoints.rotate_secrets("k1")
    assert rotated.previous == found[0].current
    assert endpoints.secrets("k1") == rotated
    assert endpoints.secrets("k2").current != rotated.current


def test_what_redis_does_not_take_is_not_registered(endpoints, monkeypatch):
    def away(*_, **__):
        raise QueueUnavailable("away")

    monkeypatch.setattr(Deliveries, "enlist", away)
    with pytest.raises(QueueUnavailable):
        make(endpoints)
    assert endpoints.of("k1") == []


def test_what_cannot_be_read_is_told_without_its_content(endpoints, store):
    endpoints.secrets("k1")
    store.put("access/webhooks/secrets/k1.json", b'{"current": "whsec_sesame"}')
    with pytest.raises(StorageError) as caught:
        endpoints.secrets("k1")
    assert "sesame" not in str(caught.value)
    assert "access/webhooks/secrets/k1.json" in str(caught.value)


def test_no_secret_is_in_a_repr(endpoints):
    assert "whsec_" not in repr(make(endpoints))
    assert "sesame" not in repr(make(endpoints))
