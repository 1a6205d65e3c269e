"""The stream of events as it is read."""

import pytest

from shared.records import Change, Events, Position
from shared.records import events as module
from tests.shared.conftest import PREFIX, begin, create, finish_all


@pytest.fixture
def events(client) -> Events:
    return Events(client, prefix=PREFIX)


def told(records, job_id: str) -> Position:
    """The place that a job's record names."""
    place = Position.parse(records.get(job_id).event)
    assert place is not None
    return place


@pytest.mark.parametrize("text", ["", "5", "a-1", "1-", "-1", "1-1-1", "1 -1", "1" * 21 + "-0", "٣-0"])
def test_what_is_no_place_is_none(text):
    assert Position.parse(text) is None


def test_places_are_in_order_as_numbers_are():
    places = [Position.parse(text) for text in ("9-0", "10-0", "10-2", "10-10", "11-1")]
    assert places == sorted(places)
    assert [str(place) for place in places] == ["9-0", "10-0", "10-2", "10-10", "11-1"]


def test_a_record_names_the_place_of_its_latest_change(records, events):
    start = events.last()
    job_id, handed = begin(records, pieces=2)
    assert told(records, job_id) == events.last()
    finish_all(records, job_id, handed)
    changes = events.follow(start, seconds=0.01)
    assert [(one.job_id, one.status) for one in changes] == [
        (job_id, "queued"),
        (job_id, "processing"),
        (job_id, "succeeded"),
    ]
    assert changes[-1] == Change(told(records, job_id), job_id, "succeeded", records.get(job_id).version)
    assert events.follow(events.last(), seconds=0.01) == []


def test_two_changes_within_a_millisecond_are_told_apart(records, events):
    jobs = [create(records) for _ in range(200)]
    places = [told(records, job_id) for job_id in jobs]
    assert len(set(places)) == 200
    assert places == sorted(places)
    assert [one.at for one in events.follow(Position(0, 0), seconds=0.01)] == places


def test_changes_of_one_job_are_found_among_others(records, events, monkeypatch):
    monkeypatch.setattr(module, "_PAGE", 3)
    first, job_id = create(records), create(records)
    queued = told(records, job_id)
    for _ in range(7):
        create(records)
    records.cancel(job_id)
    for _ in range(3):
        create(records)
    found = events.between(job_id, queued, told(records, job_id))
    assert [one.status for one in found] == ["canceled"]
    assert [one.status for one in events.between(job_id, told(records, first), events.last())] == ["queued", "canceled"]
    assert events.between(job_id, told(records, job_id), told(records, job_id)) == []


def test_what_is_forgotten_or_too_far_away_is_not_looked_for(records, events, client, monkeypatch):
    job_id = create(records)
    queued = told(records, job_id)
    others = [create(records) for _ in range(10)]
    records.cancel(job_id)
    now = told(records, job_id)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_PAGE", 3)
        patch.setattr(module, "MOST_SCANNED", 9)
        assert events.between(job_id, queued, now) is None
    assert events.between(job_id, Position(1, 0), now) is None
    client.xtrim(f"{PREFIX}events", maxlen=5, approximate=False)
    assert events.between(job_id, queued, now) is None
    assert [one.status for one in events.between(job_id, told(records, others[-1]), now)] == ["canceled"]
    client.delete(f"{PREFIX}events")
    assert events.between(job_id, queued, now) is None


def test_versions_are_read_together(records):
    one, other = create(records), create(records)
    records.cancel(other)
    assert records.versions([one, "0" * 32, other]) == {one: 1, other: 2}
    assert records.versions([]) == {}
