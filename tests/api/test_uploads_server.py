"""Uploads to the API's own URLs through a real server process."""

import hashlib
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

import httpx
import pytest

from shared.keys import source_key, upload_prefix
from shared.storage import open_storage
from tests.api.server import running

MIB = 1024 * 1024
PART = 5 * MIB


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def server(folder, redis_url):
    with running(
        folder,
        redis_url=redis_url,
        key_prefix="uploads:",
        storage_url=f"file://{folder}/store",
        upload_part_bytes=str(PART),
        api_threads="16",
    ) as process:
        yield process


def begin(server, size, **more):
    answer = httpx.post(f"{server.url}/v1/uploads", json={"filename": "tape.wav", "bytes": size, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


def files(folder, upload):
    return [path for path in (folder / "store" / upload_prefix(upload["id"])).rglob("*") if path.is_file()]


def settled(folder, upload, count):
    until = time.monotonic() + 10
    while len(files(folder, upload)) != count and time.monotonic() < until:
        time.sleep(0.02)
    return len(files(folder, upload)) == count


def test_ten_parts_at_once_out_of_order_and_twice_become_a_job(server, folder):
    data = random.Random(4).randbytes(9 * PART + 321)
    upload = begin(server, len(data), sha256=hashlib.sha256(data).hexdigest())
    parts = httpx.get(server.url + upload["urls"]["parts"]).json()["parts"]
    before = server.peak()

    def send(part):
        start = (part["number"] - 1) * PART
        return httpx.put(part["url"], content=data[start : start + part["bytes"]], headers=part["headers"], timeout=60)

    with ThreadPoolExecutor(10) as pool:
        sent = list(pool.map(send, [*reversed(parts), parts[0], parts[9], parts[4]]))
    assert {answer.status_code for answer in sent} == {200}
    assert settled(folder, upload, 10)
    tags = [
        {"number": part["number"], "etag": one.headers["ETag"]}
        for part, one in zip(reversed(parts), sent, strict=False)
    ]
    complete = partial(httpx.post, server.url + upload["urls"]["complete"], json={"parts": tags}, timeout=60)
    with ThreadPoolExecutor(4) as pool:
        asked = [answer.result() for answer in [pool.submit(complete) for _ in range(4)]]
    assert 200 in {answer.status_code for answer in asked} <= {200, 409}
    assert {answer.json()["code"] for answer in asked if answer.status_code == 409} <= {"being_taken_in"}
    done = complete()
    assert (done.status_code, done.json()["status"]) == (200, "completed"), done.text
    assert settled(folder, upload, 1)
    assert server.peak() - before < 40, "parts are never in memory whole"
    job = httpx.post(f"{server.url}/v1/jobs", json={"input": {"upload": upload["id"]}})
    assert job.status_code == 202, job.text
    kept = open_storage(f"file://{folder}/store").read(source_key(job.json()["id"]))
    assert hashlib.sha256(kept).digest() == hashlib.sha256(data).digest()


def test_a_body_without_a_length_is_measured_as_it_comes(server, folder):
    upload = begin(server, 3 * MIB)
    for pieces, status in ((2, 409), (4, 409), (3, 200)):
        answer = httpx.put(upload["url"], content=(bytes(MIB) for _ in range(pieces)))
        assert answer.status_code == status
        assert settled(folder, upload, 1 if status == 200 else 0)


def test_a_put_that_breaks_off_leaves_nothing(server, folder):
    upload = begin(server, 4 * MIB)
    url = urlsplit(upload["url"])
    with socket.create_connection((url.hostname, url.port)) as connection:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: a\r\nContent-Length: {4 * MIB}\r\n\r\n"
        connection.sendall(head.encode() + bytes(MIB))
        assert settled(folder, upload, 1), "it is being written"
    assert settled(folder, upload, 0)
    assert httpx.get(server.url + upload["urls"]["self"]).json()["received"] == []
    assert httpx.put(upload["url"], content=bytes(4 * MIB)).status_code == 200


def test_what_is_refused_before_its_body_ends_the_connection(server):
    upload = begin(server, 4 * MIB)
    answer = httpx.put(upload["url"][:-3], content=bytes(4 * MIB))
    assert (answer.status_code, answer.json()["code"]) == (403, "signature_invalid")
    answer = httpx.put(upload["url"], content=bytes(3 * MIB))
    assert (answer.status_code, answer.json()["code"]) == (409, "upload_mismatch")


def test_no_signature_stands_in_the_log(server):
    upload = begin(server, 4)
    httpx.put(upload["url"], content=b"data")
    httpx.put(upload["url"] + "x", content=b"data")
    assert upload["id"] in server.log.read_text()
    assert upload["url"].rsplit("=", 1)[1] not in server.log.read_text()
