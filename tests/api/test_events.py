"""Server-sent events of jobs, by a real server: from the beginning, from the middle, across outages."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest

from shared.records import SPLIT, STITCH, Piece, connect
from shared.records.store import JobRecords
from tests.api.conftest import Api, make_api
from tests.api.server import Process, running
from tests.support.redis import RedisServer, redis_server


@dataclass
class Event:
    name: str
    id: str | None
    data: dict


@pytest.fixture(scope="module")
def redis(tmp_path_factory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("own-redis"), appendfsync="always") as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory, redis) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("events")
    url = f"file://{folder}/store"
    with running(folder, redis_url=redis.url, storage_url=url, api_threads="8", api_watchers="4") as process:
        yield process


@pytest.fixture
def records(redis) -> JobRecords:
    return JobRecords(connect(redis.url))


def submit(server: Process) -> str:
    return httpx.post(f"{server.url}/v1/jobs", files={"file": ("a.wav", b"abc")}).json()["id"]


def split(records, job_id: str) -> None:
    claim = records.claim(job_id, SPLIT)
    assert records.complete_split(job_id, claim, pieces=2, reach=0, window=4, seconds=60.0) is not None


def work(records, job_id: str, stage: str, index: int) -> None:
    piece = Piece(stage, index)
    assert records.complete(job_id, records.claim(job_id, piece), model="Model") is not None


def finish(records, job_id: str) -> None:
    from shared.jobs import JobOutput

    output = JobOutput(format="wav", media_type="audio/wav", filename="a.wav", bytes=3, samples=1)
    assert records.succeed(job_id, records.claim(job_id, STITCH), output)


def do_all(records, job_id: str) -> None:
    split(records, job_id)
    for stage in ("restore", "vocode"):
        for index in range(2):
            work(records, job_id, stage, index)
    finish(records, job_id)


@contextmanager
def following(server: Process, job_id: str, last: str | None = None) -> Iterator[Iterator[Event]]:
    headers = {"Last-Event-ID": last} if last else {}
    with httpx.stream("GET", f"{server.url}/v1/jobs/{job_id}/events", headers=headers, timeout=20) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-store", "no")
        lines = answer.iter_lines()
        assert next(lines) == "retry: 3000"
        yield events_of(lines)


def events_of(lines: Iterator[str]) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and "data" in fields:
            yield Event(fields["event"], fields.get("id"), json.loads(fields["data"]))
            fields = {}


def states(events) -> list[str]:
    return [event.data["status"] for event in events if event.name == "status"]


def free_places(server: Process, job_id: str, wanted: int) -> bool:
    """Whether so many streams can be opened at once, a few seconds from now at most."""
    until = time.monotonic() + 4
    while time.monotonic() < until:
        with ThreadPoolExecutor(wanted) as pool:
            if all(pool.map(lambda _: opens(server, job_id), range(wanted))):
                return True
        time.sleep(0.1)
    return False


def opens(server: Process, job_id: str) -> bool:
    with httpx.stream("GET", f"{server.url}/v1/jobs/{job_id}/events") as answer:
        time.sleep(0.5)
        return answer.status_code == 200


def test_a_job_is_told_from_its_beginning_to_its_end(server, records):
    job_id = submit(server)
    with following(server, job_id) as events:
        first = next(events)
        assert (first.name, first.data["id"], first.data["status"]) == ("status", job_id, "queued")
        assert first.data["sequence"] == 1
        assert first.data["urls"]["events"] == f"/v1/jobs/{job_id}/events"
        split(records, job_id)
        assert next(events).data["status"] == "processing"
        seen = []
        for stage, index in (("restore", 0), ("restore", 1), ("vocode", 0), ("vocode", 1)):
            work(records, job_id, stage, index)
            began = time.monotonic()
            seen.append(next(events))
            assert time.monotonic() - began < 1.5
        finish(records, job_id)
        rest = list(events)
    assert {event.name for event in seen} == {"progress"}
    percents = [event.data["progress"]["percent"] for event in seen]
    assert percents == sorted(percents)
    assert {event.id for event in seen} == {None}
    last = rest[-1]
    assert (last.name, last.data["status"], last.data["job"]["status"]) == ("status", "succeeded", "succeeded")
    assert last.data["job"]["output"]["bytes"] == 3
    sequences = [event.data["sequence"] for event in (first, *seen, *rest)]
    assert sequences == sorted(sequences)


def test_progress_comes_twice_a_second_at_most(server, records):
    job_id = submit(server)
    claim = records.claim(job_id, SPLIT)
    records.complete_split(job_id, claim, pieces=40, reach=0, window=100, seconds=1200.0)
    with following(server, job_id) as events:
        next(events)
        began = time.monotonic()
        for index in range(40):
            work(records, job_id, "restore", index)
            time.sleep(0.03)
        told = []
        for event in events:
            told.append(event)
            if event.data["progress"]["stage"] != "restore":
                break
        took = time.monotonic() - began
    assert {event.name for event in told} == {"progress"}
    assert 2 <= len(told) <= 2 * took + 1


def test_who_comes_again_hears_what_was_missed_and_nothing_twice(server, records):
    job_id = submit(server)
    for _ in range(20):  # others' events lie in between
        submit(server)
    with following(server, job_id) as events:
        queued = next(events)
    do_all(records, job_id)
    with following(server, job_id, queued.id) as events:
        missed = list(events)
    assert states(missed) == ["processing", "succeeded"]
    assert ["job" in event.data for event in missed] == [False, True]
    with following(server, job_id, missed[0].id) as events:
        assert states(list(events)) == ["succeeded"]
    url = f"{server.url}/v1/jobs/{job_id}/events"
    again = httpx.get(url, headers={"Last-Event-ID": missed[-1].id})
    assert (again.status_code, again.content) == (204, b"")
    assert httpx.get(url, params={"last_event_id": missed[-1].id}).status_code == 204
    assert "succeeded" in httpx.get(url, params={"last_event_id": missed[0].id}).text


@pytest.mark.parametrize("last", ["0-1", "nonsense", "1-1-1", "5"])
def test_who_saw_what_is_forgotten_is_told_the_present_state(server, records, last):
    job_id = submit(server)
    split(records, job_id)
    with following(server, job_id, last) as events:
        assert next(events).data["status"] == "processing"
        assert records.cancel(job_id) is not None
        assert states(events)[-1] == "canceled"


def test_who_names_an_event_that_never_was_misses_nothing_that_comes(server, records):
    job_id = submit(server)
    with following(server, job_id, "99999999999999-0") as events:
        records.cancel(job_id)
        assert states(events) == ["canceled"]


def test_a_job_that_is_over_is_told_once(server, records):
    job_id = submit(server)
    do_all(records, job_id)
    with following(server, job_id) as events:
        (only,) = list(events)
    assert (only.data["status"], only.data["job"]["id"]) == ("succeeded", job_id)
    assert httpx.get(f"{server.url}/v1/jobs/{job_id}/events", headers={"Last-Event-ID": only.id}).status_code == 204


def test_two_see_the_same_of_one_job_and_nothing_of_another(server, records):
    job_id, other = submit(server), submit(server)

    def all_of(one: str) -> list[Event]:
        with following(server, one) as events:
            return list(events)

    with ThreadPoolExecutor(3) as pool:
        watchers = [pool.submit(all_of, one) for one in (job_id, job_id, other)]
        time.sleep(0.5)
        do_all(records, job_id)
        records.cancel(other)
        first, second, third = (watcher.result(10) for watcher in watchers)
    assert states(first) == states(second) == ["queued", "processing", "succeeded"]
    assert [event.id for event in first if event.id] == [event.id for event in second if event.id]
    assert states(third) == ["queued", "canceled"]


def test_a_restart_of_redis_is_outlived(server, records, redis):
    job_id, waited = submit(server), submit(server)
    with ThreadPoolExecutor(1) as pool, following(server, job_id) as events:
        waiting = pool.submit(httpx.get, f"{server.url}/v1/jobs/{waited}", headers={"Prefer": "wait=30"}, timeout=40)
        assert next(events).data["status"] == "queued"
        time.sleep(1.0)  # both have begun
        redis.stop()
        time.sleep(1.5)
        redis.start()
        records.cancel(waited)
        began = time.monotonic()
        assert waiting.result(10).json()["status"] == "canceled"
        do_all(records, job_id)
        rest = list(events)
        assert time.monotonic() - began < 5
    assert states(rest) == ["processing", "succeeded"]


def test_a_client_that_hangs_up_frees_its_place(server, records):
    job_id = submit(server)
    sockets = []
    for kind in ("events", "wait") * 2:
        sockets.append(socket.create_connection(("127.0.0.1", server.port)))
        path = f"/v1/jobs/{job_id}" + ("/events" if kind == "events" else "")
        sockets[-1].sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\n\r\n".encode())
    time.sleep(0.5)
    full = httpx.get(f"{server.url}/v1/jobs/{job_id}/events", timeout=20)
    assert (full.status_code, full.json()["code"]) == (503, "too_many_streams")
    assert httpx.get(f"{server.url}/v1/jobs/{job_id}", headers={"Prefer": "wait=30"}, timeout=5).status_code == 200
    for one in sockets:
        one.close()
    assert free_places(server, job_id, 4)


def test_a_stream_is_for_those_who_see_the_job(api: Api):
    from tests.api.test_keys import key
    from tests.api.test_keys import submit as send

    mine, foreign = key(api), key(api)
    fresh = make_api(api.settings, api.store)
    job_id = send(fresh, mine).json["id"]
    assert fresh.client.get(f"/v1/jobs/{job_id}/events", headers=foreign).status_code == 404
    with fresh.client.get(f"/v1/jobs/{job_id}/events", headers=mine) as answer:
        assert answer.status_code == 200


def test_a_stream_that_is_never_read_keeps_no_place(api: Api):
    one = make_api(api.settings.model_copy(update={"api_watchers": 1}), api.store)
    job_id = api.submit()["id"]
    for _ in range(3):
        for ask in (one.client.head, one.client.get):
            answer = ask(f"/v1/jobs/{job_id}/events")
            assert answer.status_code == 200
            answer.close()


def test_a_stream_that_is_silent_says_so_and_comes_to_an_end(api: Api, monkeypatch):
    monkeypatch.setattr("api.watching.stream._COMMENT_SECONDS", 0.3)
    monkeypatch.setattr("api.watching.stream._LONGEST_SECONDS", 1.0)
    monkeypatch.setattr("api.watching.stream.NOTICE_SECONDS", 0.05)
    job_id = api.submit()["id"]
    text = api.client.get(f"/v1/jobs/{job_id}/events").text
    pieces = text.split("\n\n")
    assert [piece for piece in pieces[2:] if piece] == [": still here"] * 3
    assert pieces[1].splitlines()[1] == "event: status"


def test_a_job_of_a_record_that_was_rebuilt_is_told_once_too(api: Api):
    job_id = api.submit()["id"]
    api.succeed(job_id)
    api.redis.hdel(f"vfq:job:{{{job_id}}}", "event")
    events = list(events_of(iter(api.client.get(f"/v1/jobs/{job_id}/events").text.splitlines())))
    assert states(events) == ["succeeded"]
    headers = {"Last-Event-ID": events[0].id}
    assert api.client.get(f"/v1/jobs/{job_id}/events", headers=headers).status_code == 204


def test_a_job_that_is_deleted_ends_its_stream(server, records):
    job_id = submit(server)
    with following(server, job_id) as events:
        next(events)
        records.cancel(job_id)
        httpx.delete(f"{server.url}/v1/jobs/{job_id}")
        rest = list(events)
    assert states(rest) in ([], ["canceled"])
    assert httpx.get(f"{server.url}/v1/jobs/{job_id}/events").status_code == 404


def test_a_stopping_server_ends_its_streams_and_waits(tmp_path, redis_url):
    with running(tmp_path / "own", redis_url=redis_url, storage_url=f"file://{tmp_path}/store") as server:
        job_id = submit(server)
        with ThreadPoolExecutor(1) as pool, following(server, job_id) as events:
            next(events)
            waiting = pool.submit(
                httpx.get, f"{server.url}/v1/jobs/{job_id}", headers={"Prefer": "wait=60"}, timeout=40
            )
            time.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            assert list(events) == []
            assert waiting.result(10).status_code == 200
        assert server.process.wait(10) == 0
        assert time.monotonic() - began < 8
