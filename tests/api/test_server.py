"""Uploads, downloads and the documentation's page through a real server process."""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from shared.jobs import JobOutput
from shared.keys import result_key, source_key
from shared.records import SPLIT, STITCH, JobRecords, Piece, connect
from shared.storage import open_storage
from tests.api.server import HEAD, TAIL, RawClient, length, running, upload

MIB = 1024 * 1024
LIMIT = 64 * MIB
MEMORY = 30


CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(folder, redis_url):
    with running(
        folder,
        redis_url=redis_url,
        key_prefix="server:",
        storage_url=f"file://{folder}/store",
        max_upload_bytes=str(LIMIT),
        api_threads="4",
    ) as process:
        yield process


@pytest.fixture
def records(redis_url):
    return JobRecords(connect(redis_url), prefix="server:")


@pytest.fixture
def store(folder):
    return open_storage(f"file://{folder}/store")


def files(folder: Path) -> set[Path]:
    """Everything under the folder of the store, unfinished files too."""
    return {path for path in (folder / "store").rglob("*") if path.is_file()}


def settled(folder: Path, wanted: set[Path]) -> bool:
    until = time.monotonic() + 10
    while files(folder) != wanted and time.monotonic() < until:
        time.sleep(0.02)
    return files(folder) == wanted


def is_library(name: str) -> bool:
    return name.startswith(("/usr", "/lib")) or ".so" in name


def took(answer, store, megabytes):
    status, headers, body = answer
    assert status == 202, body
    job = json.loads(body)
    assert headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["input"]["bytes"] == store.head(source_key(job["id"])).size == megabytes * MIB
    return job["id"]


def test_a_large_chunked_upload_is_neither_held_nor_spooled(server, folder, store):
    with RawClient(server) as client:  # what every process needs once
        client.begin("Transfer-Encoding: chunked")
        client.send_chunked(upload(2))
        took(client.answer(), store, 2)
    before = server.peak()
    with RawClient(server) as client:
        client.begin("Transfer-Encoding: chunked")
        for number, piece in enumerate(upload(60)):
            client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            if number == 50:
                large = [name for name, size in server.open_files() if size > MIB and not is_library(name)]
        client.send(b"0\r\n\r\n")
        job_id = took(client.answer(), store, 60)
    assert server.peak() - before < MEMORY
    assert [name.startswith(f"{folder}/store/jobs/") for name in large] == [True]
    assert list((folder / "tmp").rglob("*")) == []
    assert store.read(source_key(job_id), 33 * MIB, 33 * MIB + 2) == bytes([33, 33])


def test_a_large_upload_of_known_length_is_not_held(server, store):
    before = server.peak()
    with RawClient(server) as client:
        client.begin(f"Content-Length: {length(60)}")
        for piece in upload(60):
            client.send(piece)
        took(client.answer(), store, 60)
    assert server.peak() - before < MEMORY


def test_a_large_upload_to_s3_is_not_held(tmp_path, redis_url, s3_bucket):
    options = s3_bucket.options
    with running(
        tmp_path / "s3",
        redis_url=redis_url,
        storage_url=s3_bucket.url,
        s3_endpoint=options["endpoint"],
        s3_access_key=options["access_key"],
        s3_secret_key=options["secret_key"],
    ) as server:
        store = open_storage(s3_bucket.url, **options)
        peaks = []
        for megabytes in (20, 60):
            with RawClient(server) as client:
                client.begin("Transfer-Encoding: chunked")
                client.send_chunked(upload(megabytes))
                took(client.answer(), store, megabytes)
            peaks.append(server.peak())
        assert peaks[1] - peaks[0] < MEMORY
        assert list((tmp_path / "s3" / "tmp").rglob("*")) == []


@pytest.mark.parametrize("header", ["Transfer-Encoding: chunked", f"Content-Length: {length(8)}"])
def test_an_upload_that_breaks_off_leaves_nothing(server, folder, header):
    before = files(folder)
    with RawClient(server) as client:
        client.begin(header)
        piece = HEAD + bytes(3 * MIB)
        client.send(b"%x\r\n%s\r\n" % (len(piece), piece) if "chunked" in header else piece)
        until = time.monotonic() + 10
        while files(folder) == before and time.monotonic() < until:
            time.sleep(0.02)
        assert len(files(folder) - before) == 1  # it was on its way
    assert settled(folder, before)
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_a_broken_chunk_is_told_and_leaves_nothing(server, folder):
    before = files(folder)
    with RawClient(server) as client:
        client.begin("Transfer-Encoding: chunked")
        client.send(b"%x\r\n%s\r\nnonsense\r\n" % (len(HEAD), HEAD))
        status, headers, body = client.answer()
    assert (status, json.loads(body)["code"]) == (400, "upload_incomplete")
    assert headers["connection"] == "close"
    assert settled(folder, before)


def test_a_length_that_is_too_large_is_refused_before_the_body_comes(server):
    with RawClient(server) as client:
        client.begin(f"Content-Length: {LIMIT * 10}")
        status, headers, body = client.answer()
    assert (status, json.loads(body)["code"]) == (413, "upload_too_large")
    assert headers["connection"] == "close"


def test_an_upload_of_unknown_length_is_stopped_at_the_limit(server, folder):
    before = files(folder)
    with RawClient(server) as client:
        client.begin("Transfer-Encoding: chunked")
        with contextlib.suppress(ConnectionError):  # it may close before it has everything
            client.send_chunked(upload(200))
        status, headers, body = client.answer()
    assert (status, json.loads(body)["code"]) == (413, "upload_too_large")
    assert headers["connection"] == "close"
    assert settled(folder, before)


def test_a_library_that_sends_all_before_it_reads_sees_the_refusal(server):
    answer = httpx.post(f"{server.url}/v1/jobs", files={"file": ("a.wav", bytes(LIMIT + 3 * MIB))}, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (413, "upload_too_large")


def test_a_connection_serves_further_requests_after_small_errors(server):
    with httpx.Client(base_url=server.url) as client:
        connections = set()
        for _ in range(3):
            answer = client.post("/v1/jobs", content=b"x" * 1000, headers={"Content-Type": "text/plain"})
            assert answer.status_code == 415
            connections.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
        assert len(connections) == 1


def test_uploads_at_once_do_not_wait_for_each_other(server, store):
    with RawClient(server) as slow:
        slow.begin(f"Content-Length: {length(1)}")
        slow.send(HEAD)
        answer = httpx.post(f"{server.url}/v1/jobs", files={"file": ("a.wav", b"abc")}, timeout=10)
        assert answer.status_code == 202
        slow.send(bytes(MIB) + TAIL)
        took(slow.answer(), store, 1)


def finished(records, store, server, megabytes):
    """A job with a result of so many MiB; gives its address."""
    job_id = httpx.post(f"{server.url}/v1/jobs", files={"file": ("a.wav", b"abc")}).json()["id"]
    records.complete_split(job_id, records.claim(job_id, SPLIT), pieces=1, reach=0, window=1, seconds=1.0)
    for piece in (Piece("restore", 0), Piece("vocode", 0)):
        records.complete(job_id, records.claim(job_id, piece), model="Model")
    claim = records.claim(job_id, STITCH)
    with store.writer(result_key(job_id, claim.attempt)) as out:
        for number in range(megabytes):
            out.write(bytes([number]) * MIB)
        size = out.commit().size
    output = JobOutput(format="wav", media_type="audio/wav", filename="a.wav", bytes=size, samples=1)
    assert records.succeed(job_id, claim, output)
    return f"{server.url}/v1/jobs/{job_id}/result"


def test_a_large_result_is_not_held(server, records, store):
    url = finished(records, store, server, 60)
    before, size = server.peak(), 0
    with httpx.stream("GET", url) as answer:
        assert answer.headers["Content-Length"] == str(60 * MIB)
        for piece in answer.iter_bytes():
            size += len(piece)
    assert size == 60 * MIB
    assert server.peak() - before < MEMORY


def test_a_download_that_breaks_off_closes_its_file(server, records, store):
    def being_sent():
        return any("/result." in name for name, _ in server.open_files())

    url = finished(records, store, server, 20)
    with RawClient(server, receive_buffer=64 * 1024) as client:
        client.send(f"GET {httpx.URL(url).path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        client.socket.recv(1024)
        assert being_sent()
    until = time.monotonic() + 10
    while being_sent() and time.monotonic() < until:
        time.sleep(0.02)
    assert not being_sent()


def test_a_stopping_server_finishes_what_it_has_begun(tmp_path, redis_url):
    url = f"file://{tmp_path}/store"
    with running(tmp_path / "own", redis_url=redis_url, storage_url=url) as server:
        with RawClient(server) as client:
            client.begin(f"Content-Length: {length(2)}")
            client.send(HEAD + bytes(MIB))
            time.sleep(0.3)  # until the request is being served
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            client.send(bytes(MIB) + TAIL)
            took(client.answer(), open_storage(url), 2)
        assert server.process.wait(15) == 0


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_a_browser_shows_the_documentation_without_the_net(server, tmp_path):
    assert CHROMIUM is not None
    options = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    command = [CHROMIUM, *options.split(), "--disable-component-update", f"--user-data-dir={tmp_path}"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--enable-logging=stderr"]
    command += ["--virtual-time-budget=20000", "--dump-dom", f"{server.url}/docs"]
    page = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    for path in ("/v1/jobs", "/v1/jobs/{job_id}/result", "/readyz"):
        assert f'data-path="{path}"' in page.stdout
    assert "Authorize" not in page.stdout
    assert [line for line in page.stderr.splitlines() if ":CONSOLE" in line] == []


def test_as_many_halves_of_a_head_as_there_are_threads_stop_the_service_for_seconds_only(tmp_path, clean_redis):
    store = f"file://{tmp_path}/store"
    with running(tmp_path / "api", redis_url=clean_redis, storage_url=store, auth="keys", api_threads="4") as server:
        held = []
        for _ in range(4):
            one = socket.create_connection(("127.0.0.1", server.port))
            one.sendall(b"GET / HTTP/1.1\r\nHo")
            held.append(one)
        try:
            assert httpx.get(f"{server.url}/healthz", timeout=20).status_code == 200
        finally:
            for one in held:
                one.close()


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 9000 + b"\r\n\r\n", 431, "request_header_fields_too_large"),
        (b"this is no HTTP\r\n\r\n", 400, "bad_request"),
        (b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: zip\r\n\r\n", 501, "not_implemented"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: more\r\n\r\n", 417, "expectation_failed"),
    ],
)
def test_what_is_no_http_that_can_be_served_is_told_as_a_problem(server, head, status, code):
    with RawClient(server) as client:
        client.send(head)
        answer, headers, body = client.answer()
    assert (answer, headers["content-type"]) == (status, "application/problem+json")
    problem = json.loads(body)
    assert (problem["status"], problem["code"], problem["request_id"]) == (status, code, headers["x-request-id"])
    assert len(problem["detail"]) < 250


def test_an_address_of_eight_thousand_bytes_is_read(server):
    assert httpx.get(f"{server.url}/v1/jobs?cursor={'a' * 7900}").json()["code"] == "page_not_found"
