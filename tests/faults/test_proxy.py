"""The fault proxies do to a client what they say, and pass on the rest unchanged."""

import http.client
import http.server
import socket
import threading
import time
from contextlib import contextmanager

import boto3
import pytest
import redis
from botocore.config import Config
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.http_proxy import HttpFaultProxy
from tests.support.proxy import FaultProxy

BODY = bytes(range(256)) * 1000


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(BODY), 100_000):
                piece = BODY[start : start + 100_000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(BODY)

    def do_HEAD(self):
        self.do_GET()

    def do_PUT(self):
        self.server.asked.append(self.path)
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200 if data == BODY else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@contextmanager
def connected(proxy, timeout=5):
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=timeout)
    try:
        yield connection
    finally:
        connection.close()


def get(connection, path="/"):
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.fixture(params=[FaultProxy, HttpFaultProxy])
def proxy(request, server):
    with request.param(server.server_port, seed=1) as proxy:
        yield proxy


def test_what_passes_is_unchanged_on_one_connection(proxy, server):
    with connected(proxy) as connection:
        for _ in range(3):
            assert get(connection) == (200, BODY)
            connection.request("HEAD", "/head")
            assert connection.getresponse().read() == b""
            connection.request("PUT", "/put", BODY)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"")
            assert get(connection, "/chunked") == (200, BODY)
        before = connection.sock
        assert get(connection) == (200, BODY)
        assert connection.sock is before


def test_down_refuses_and_resets_and_keeps_its_port(proxy):
    with connected(proxy) as connection:
        assert get(connection)[0] == 200
        for _ in range(3):
            proxy.down()
            with pytest.raises(ConnectionResetError):
                connection.sock.recv(1)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", proxy.port), 2)
            proxy.up()
            connection.close()
            assert get(connection) == (200, BODY)


def test_frozen_it_takes_connections_and_answers_none(proxy, server):
    with connected(proxy, timeout=0.3) as old, connected(proxy, timeout=0.3) as new:
        assert get(old)[0] == 200
        proxy.freeze()
        server.asked.clear()
        for connection in (old, new):
            with pytest.raises(TimeoutError):
                get(connection)
        assert server.asked == []
        proxy.up()
        for connection in (old, new):
            connection.close()
            assert get(connection) == (200, BODY)


def test_latency_holds_up_every_request(proxy):
    with connected(proxy) as connection:
        assert get(connection)[0] == 200
        proxy.latency(0.2)
        began = time.monotonic()
        for _ in range(2):
            assert get(connection) == (200, BODY)
        assert time.monotonic() - began >= 0.4


def test_some_connections_are_reset_before_and_some_after_the_server_was_asked(proxy, server):
    proxy.reset_some(0.5)
    broken = []
    for number in range(60):
        with connected(proxy) as connection:
            try:
                assert get(connection, f"/{number}") == (200, BODY)
            except ConnectionError:
                broken.append(f"/{number}")
    assert 10 < len(broken) < 50
    deadline = time.monotonic() + 5
    while not set(broken) & set(server.asked) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(broken) & set(server.asked)
    assert set(broken) - set(server.asked)
    proxy.calm()
    with connected(proxy) as connection:
        assert [get(connection)[0] for _ in range(20)] == [200] * 20


def test_a_server_that_is_away_is_a_broken_connection():
    with FaultProxy(1) as proxy, connected(proxy) as connection, pytest.raises(ConnectionError):
        get(connection)


def test_some_requests_of_one_connection_are_refused_and_never_reach_the_server(server):
    statuses = []
    with HttpFaultProxy(server.server_port, seed=2) as proxy, connected(proxy) as connection:
        proxy.fail_some(0.4)
        for _ in range(40):
            statuses.append(get(connection)[0])
            connection.request("PUT", "/put", BODY)
            statuses.append(connection.getresponse().status)
            connection.close()
    assert set(statuses) == {200, 500, 503}
    assert statuses.count(200) == len(server.asked)


def test_some_bodies_are_cut_though_their_whole_length_was_promised(server):
    cut = []
    with HttpFaultProxy(server.server_port, seed=3) as proxy:
        proxy.cut_some(0.5)
        for _ in range(20):
            with connected(proxy) as connection:
                try:
                    assert get(connection) == (200, BODY)
                except http.client.IncompleteRead as error:
                    cut.append(error.partial)
    assert 3 < len(cut) < 17
    assert set(cut) == {BODY[: len(BODY) // 2]}


def test_s3_passes_through_with_its_own_ways(s3_bucket):
    server = s3_bucket.server
    with HttpFaultProxy(server.port) as proxy:
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{proxy.port}",
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )
        client.put_object(Bucket=s3_bucket.name, Key="a", Body=BODY)  # with "Expect: 100-continue"
        assert client.get_object(Bucket=s3_bucket.name, Key="a")["Body"].read() == BODY
        proxy.fail_some(0.3)  # boto3 tries again
        for number in range(10):
            client.put_object(Bucket=s3_bucket.name, Key=f"b{number}", Body=BODY)
        assert len(client.list_objects_v2(Bucket=s3_bucket.name)["Contents"]) == 11


def test_redis_passes_through_and_outlives_resets(redis_url):
    upstream = redis.ConnectionPool.from_url(redis_url).connection_kwargs["port"]
    with FaultProxy(upstream, seed=4) as proxy, redis.Redis(port=proxy.port, retry=Retry(NoBackoff(), 0)) as client:
        proxy.reset_some(0.2)
        kept = 0
        for number in range(50):
            try:
                client.set(f"proxied:{number}", "x" * 100_000)
                kept += 1
            except redis.ConnectionError:
                pass
        proxy.calm()
        assert 0 < kept < 50, "some pass, and not all"
        assert len(client.keys("proxied:*")) >= kept
