"""The convert route on the real server, without workers: what it holds in memory, and what becomes of who waits."""

import base64
import re
import signal
import socket
import time

import httpx
import pytest

from shared.connections import open_records
from shared.jobs import Status
from shared.settings import Settings
from tests.api.server import RawClient, running

CONVERT = "/v1/audio/convert"
WAIT = 1.5
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("harmony")


@pytest.fixture(scope="module")
def settings(folder, redis_url):
    return {
        "redis_url": redis_url,
        "key_prefix": "harmony:",
        "storage_url": f"file://{folder}/store",
        "convert_seconds": str(WAIT),
    }


@pytest.fixture(scope="module")
def server(folder, settings):
    with running(folder, **settings) as process:
        yield process


@pytest.fixture
def records(settings):
    return open_records(Settings(redis_url=settings["redis_url"], key_prefix="harmony:"), retries=1)


def queued(records) -> set[str]:
    return {
        job.manifest.id
        for job in records.page("local", status=Status.QUEUED, created_after=None, before=None, limit=50)
    }


def body(mebibytes: int):
    """Base64 of so many MiB in one JSON body, never whole in memory."""
    piece = base64.b64encode(bytes(3 * MIB // 4))
    yield b'{"model":"voicefixer","source_audio":"'
    for _ in range(mebibytes):
        yield piece
    yield b'"}'


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def is_envelope(answer, status, kind):
    assert answer.status_code == status, answer.text
    error = answer.json()
    assert (error["object"], error["type"], error["param"], error["code"]) == ("error", kind, None, status)
    return error["message"]


def left_over(folder):
    return [path for path in (folder / "store").rglob("*") if path.is_file()]


@pytest.mark.parametrize("told", [True, False], ids=["length told", "chunked"])
def test_300_mb_are_refused_while_they_are_read_and_the_next_request_works(server, folder, told):
    before, files = server.peak(), set(left_over(folder))
    length = sum(map(len, body(0))) + 300 * MIB
    headers = {"Content-Type": "application/json"} | ({"Content-Length": str(length)} if told else {})
    with httpx.Client(base_url=server.url, timeout=60) as client:
        answer = client.post(CONVERT, content=body(300), headers=headers)
        assert "134217728 bytes" in is_envelope(answer, 413, "PayloadTooLargeError")
        assert client.post(CONVERT, json={}).status_code == 404
    assert server.peak() - before < 48
    assert set(left_over(folder)) == files


def test_a_large_recording_is_never_in_memory_and_its_job_goes_when_its_caller_does(server, folder, records):
    before = server.peak()
    text = b"".join(body(120))
    head = f"POST {CONVERT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n"
    with RawClient(server) as client:
        client.socket.sendall(head.encode() + text)
        assert until(lambda: len(queued(records)) == 1, 20)
        [job_id] = queued(records)
    assert server.peak() - before < 48
    assert until(lambda: records.state(job_id) is Status.CANCELED, 5)
    records.remove(job_id)


def test_who_waits_in_vain_is_told_the_jobs_id_and_it_goes_on(server, records):
    began = time.monotonic()
    answer = httpx.post(f"{server.url}{CONVERT}", json={"model": "voicefixer", "source_audio": "UklGRg=="}, timeout=30)
    assert WAIT <= time.monotonic() - began < WAIT + 3
    message = is_envelope(answer, 504, "TimeoutError")
    [job_id] = set(re.findall(r"[0-9a-f]{32}", message))
    assert answer.headers["Location"] == f"/v1/jobs/{job_id}"
    assert records.state(job_id) is Status.QUEUED
    assert httpx.get(f"{server.url}/v1/jobs/{job_id}").json()["status"] == "queued"
    records.cancel(job_id)


def test_a_job_that_somebody_cancels_or_deletes_is_told(server, records):
    def send(do):
        with httpx.Client(base_url=server.url, timeout=30) as client, RawClient(server) as raw:
            text = b'{"model":"voicefixer-vocoder","source_audio":"UklGRg=="}'
            head = f"POST {CONVERT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n"
            raw.socket.sendall(head.encode() + text)
            assert until(lambda: queued(records))
            [job_id] = queued(records)
            assert do(client, f"/v1/jobs/{job_id}").is_success
            status, _, answer = raw.answer()
        assert status == 409
        return answer.decode()

    assert "was canceled" in send(lambda client, job: client.post(f"{job}/cancel"))
    assert "ConflictError" in send(lambda client, job: client.delete(job))


@pytest.mark.parametrize("more", [b"\r\n", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_caller_that_hangs_up_is_missed_though_it_has_sent_more(server, records, more):
    text = b'{"model":"voicefixer","source_audio":"UklGRg=="}'
    head = f"POST {CONVERT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n"
    with RawClient(server) as raw:
        raw.send(head.encode() + text)
        assert until(lambda: queued(records))
        [job_id] = queued(records)
        raw.send(more)
    assert until(lambda: records.state(job_id) is not Status.QUEUED, 2 * WAIT)
    assert records.state(job_id) is Status.CANCELED


def test_a_server_that_stops_says_so_and_the_job_goes_on(tmp_path, settings, records):
    with running(tmp_path, **{**settings, "convert_seconds": "60"}) as server, RawClient(server) as raw:
        text = b'{"model":"voicefixer","source_audio":"UklGRg==","pre_processing_filters":[{"model":"voicefixer"}]}'
        head = f"POST {CONVERT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n"
        raw.socket.sendall(head.encode() + text)
        assert until(lambda: queued(records))
        [job_id] = queued(records)
        server.process.send_signal(signal.SIGTERM)
        raw.socket.settimeout(20)
        answer = b""
        while piece := raw.socket.recv(65536):
            answer += piece
        assert answer.startswith(b"HTTP/1.1 503 ")
        [following] = records.get(job_id).manifest.then
        assert job_id.encode() in answer
        assert following.id.encode() in answer, "the job that will have the result"
    assert records.state(job_id) is Status.QUEUED
    records.cancel(job_id)


@pytest.mark.parametrize(
    "text",
    [
        b'{"model":"voicefixer","source_audio":"UklGR',
        b'{"model":"voicefixer","source_audio":"UklGRg=="',
        b'{"model":"voicefixer","source_audio":"UklGRg=="}}',
        b'{"model":"voicefixer","source_audio":"UklG\\x"}',
        b'{"model":"voicefixer","source_audio":"a","source_audio":"UklGRg=="}',
        b"\xff\xfe",
        b"",
        b"[" * 10_000,
        b'{"pre_processing_filters":' * 2000,
        b'{"model":"voicefixer","source_audio":"UklGRg==","x":"' + b"y" * (2 * MIB) + b'"}',
    ],
)
def test_broken_bodies_are_refused_and_leave_nothing(server, folder, text):
    files = set(left_over(folder))
    answer = httpx.post(
        f"{server.url}{CONVERT}", content=text, headers={"Content-Type": "application/json"}, timeout=30
    )
    if len(text) > MIB:
        is_envelope(answer, 413, "PayloadTooLargeError")
    else:
        is_envelope(answer, 400, "BadRequestError")
    assert set(left_over(folder)) == files


def test_a_caller_that_breaks_off_leaves_nothing(server, folder):
    files = set(left_over(folder))
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(f"POST {CONVERT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n".encode())
        raw.sendall(b'{"model":"voicefixer","source_audio":"UklGRgAA')
    assert until(lambda: set(left_over(folder)) == files)
    assert not [name for name, _ in server.open_files() if "store" in name]
