"""Other people's URLs: what is refused, whom a call reaches, and when it ends."""

import gzip
import ssl
import subprocess
import time
import traceback

import pytest

from shared.outgoing import (
    AllowList,
    Outgoing,
    OutgoingError,
    Policy,
    UrlBadAnswer,
    UrlBadStatus,
    UrlRefused,
    UrlTimedOut,
    UrlTooLarge,
    UrlUnreachable,
    check_url,
    without_secrets,
)
from shared.settings import Settings, load_settings
from tests.support.odd_server import OddServer, plain, raw, redirect
from tests.support.ports import free_port
from tests.support.ssrf import NAMES, REFUSED, TAKEN, resolver

SECRET = "path-7f3a/x?signature=9c1d"
LAN = {"lan.test": ["127.0.0.1"], **NAMES}


def resolving(names):
    def resolve(host, port):
        if host not in names:
            raise OSError("no such name")
        return names[host]

    return resolve


def calling(*allowed, names=LAN, **more):
    """A client for which the allowed are inside, and names are those of a dictionary."""
    return Outgoing(Policy(AllowList.of(allowed), resolve=resolving(names)), **more)


def fetch(client, url, *, max_bytes=100_000, seconds=5.0, **more):
    got = bytearray()
    return client.download(url, got.extend, max_bytes=max_bytes, seconds=seconds, **more), bytes(got)


def post(client, url, *, timeout=5.0):
    return client.post(url, b"{}", {"Content-Type": "application/json"}, timeout=timeout)


@pytest.mark.parametrize(("url", "reason"), REFUSED)
def test_what_must_not_be_called_is_refused_at_submit_and_at_send(url, reason):
    client = Outgoing(Policy(resolve=resolver))
    for call in (client.check, lambda one: post(client, one), lambda one: fetch(client, one)):
        with pytest.raises(UrlRefused) as refused:
            call(url)
        assert (refused.value.code, refused.value.reason) == ("url_refused", reason)
        assert refused.value.passing is (reason == "unresolvable")


@pytest.mark.parametrize("url", [url for url, reason in REFUSED if reason != "syntax" and "://" in url])
def test_a_redirect_to_it_is_refused_too(url):
    with OddServer(redirect(url)) as server, pytest.raises(UrlRefused):
        fetch(calling("lan.test", names=LAN), f"http://lan.test:{server.port}/")


@pytest.mark.parametrize(("url", "plainly"), TAKEN)
def test_what_is_out_in_the_world_is_taken(url, plainly):
    assert check_url(url, policy=Policy(resolve=resolver)).url == plainly


def test_a_redirect_to_the_metadata_of_a_cloud_is_refused_with_its_reason():
    with OddServer(redirect("http://169.254.169.254/latest/meta-data/")) as server:
        with pytest.raises(UrlRefused) as refused:
            fetch(calling("lan.test"), f"http://lan.test:{server.port}/a.wav")
        assert refused.value.reason == "address"


class Rebinding:
    """A name server that answers something else each time."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host, port):
        self.asked += 1
        return [self.answers[min(self.asked, len(self.answers)) - 1]]


def test_a_name_that_is_bound_anew_after_submit_is_refused_at_send():
    names = Rebinding("93.184.215.14", "127.0.0.1")
    client = Outgoing(Policy(resolve=names))
    with OddServer(plain()) as server:
        url = f"http://rebinding.example:{server.port}/"
        assert client.check(url).addresses == ("93.184.215.14",)
        with pytest.raises(UrlRefused):
            post(client, url)
        with pytest.raises(UrlRefused):
            fetch(client, url)
        assert server.requests == []


def test_a_call_resolves_once_and_connects_to_the_address_that_was_checked():
    names = Rebinding("127.0.0.2", "127.0.0.1")
    with OddServer(plain(b"checked"), host="127.0.0.2") as checked, OddServer(plain(), port=checked.port) as other:
        client = Outgoing(Policy(AllowList.of(["lan.test"]), resolve=names))
        answer = post(client, f"http://lan.test:{checked.port}/")
        assert (answer.status, answer.body_excerpt, names.asked) == (200, "checked", 1)
        assert len(checked.requests) == 1
        assert other.requests == []


def test_each_redirect_is_resolved_anew():
    names = Rebinding("127.0.0.1", "10.0.0.1")
    client = Outgoing(Policy(AllowList.of(["127.0.0.1"]), resolve=names))
    with OddServer(redirect("/again")) as server, pytest.raises(UrlRefused):
        fetch(client, f"http://rebinding.example:{server.port}/")


def test_the_next_address_is_tried_where_one_does_not_answer():
    port = free_port()
    with OddServer(plain(b"second"), host="127.0.0.1", port=port):
        client = calling("lan.test", names={"lan.test": ["127.0.0.3", "127.0.0.1"]})
        assert post(client, f"http://lan.test:{port}/").body_excerpt == "second"


@pytest.mark.parametrize(
    ("allowed", "covered"),
    [
        ("lan.test", True),
        ("LAN.test.", True),
        ("lan.test:{port}", True),
        ("lan.test:1", False),
        ("127.0.0.1", True),
        ("127.0.0.1:{port}", True),
        ("127.0.0.1:1", False),
        ("127.0.0.0/8", True),
        ("127.0.0.0/8:{port}", True),
        ("10.0.0.0/8", False),
        ("test", False),
        ("::ffff:127.0.0.1", False),
    ],
)
def test_the_allow_list_lets_a_lan_host_pass(allowed, covered):
    with OddServer(plain()) as server:
        client = calling(allowed.format(port=server.port))
        if covered:
            assert post(client, f"http://lan.test:{server.port}/").status == 200
        else:
            with pytest.raises(UrlRefused):
                post(client, f"http://lan.test:{server.port}/")


def test_an_allowed_host_does_not_let_another_address_of_a_name_pass():
    client = calling("127.0.0.1", names={"two.test": ["127.0.0.1", "127.0.0.2"]})
    with pytest.raises(UrlRefused):
        client.check("http://two.test/")


def test_the_allow_list_is_a_setting_that_is_read_strictly(monkeypatch):
    monkeypatch.setenv("VFQ_OUTGOING_ALLOW", "nas, 10.0.0.0/24:8080,[fd00::1]:443,fd00::/8")
    assert len(load_settings().outgoing_allow) == 4
    for wrong in ("http://nas", "10.0.0.1/24", "nas:0", "nas:x", "10.0.0", "*.lan", "[::1]8080"):
        monkeypatch.setenv("VFQ_OUTGOING_ALLOW", wrong)
        with pytest.raises(Exception, match="VFQ_OUTGOING_ALLOW"):
            load_settings()
    monkeypatch.delenv("VFQ_OUTGOING_ALLOW")
    assert Settings().outgoing_allow == ()


def test_a_request_is_sent_as_it_should_be():
    with OddServer(plain(b"thanks", "201 Created", X_Seen="yes", Set_Cookie="a=b")) as server:
        client = calling("lan.test")
        for _ in range(2):
            answer = client.post(
                f"http://lan.test:{server.port}/hook?a=%2F", b'{"a": 1}', {"webhook-id": "msg_1"}, timeout=5
            )
        assert (answer.status, answer.headers["x-seen"], answer.body_excerpt) == (201, "yes", "thanks")
        head, _, body = server.requests[1].partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        assert (first, body) == ("POST /hook?a=%2F HTTP/1.1", b'{"a": 1}')
        assert headers == {
            "host": f"lan.test:{server.port}",
            "user-agent": "voicefixer-queue",
            "accept-encoding": "identity",
            "connection": "close",
            "content-length": "8",
            "webhook-id": "msg_1",
        }


def test_proxies_of_the_environment_are_not_asked(monkeypatch):
    with OddServer(plain(b"direct")) as server, OddServer(plain(b"proxied")) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert post(calling("lan.test"), f"http://lan.test:{server.port}/").body_excerpt == "direct"
        assert proxy.requests == []


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Again", "410 Gone", "429 Slow Down", "500 Oh"])
def test_a_post_follows_nothing_and_gives_every_status(status):
    with OddServer(plain(b"", status, Location="http://169.254.169.254/", Retry_After="7")) as server:
        answer = post(calling("lan.test"), f"http://lan.test:{server.port}/")
        assert answer.status == int(status[:3])
        assert answer.headers["retry-after"] == "7"
        assert len(server.requests) == 1


def drip(head, piece=b"x", pause=0.05):
    def answer(connection, _):
        connection.sendall(head)
        for _ in range(400):
            connection.sendall(piece)
            time.sleep(pause)

    return answer


def endless(head, piece):
    def answer(connection, _):
        connection.sendall(head)
        while True:
            connection.sendall(piece)

    return answer


_OK = b"HTTP/1.1 200 OK\r\n"
_HOLDS = 0.4
PASSING = (408, 425, 429, 500, 502, 503)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nX-Slow: "), id="headers"),
        pytest.param(drip(_OK + b"Content-Length: 400\r\n\r\n"), id="body"),
        pytest.param(drip(_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), id="chunks"),
        pytest.param(drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="continue"),
        pytest.param(lambda connection, _: time.sleep(3), id="silence"),
    ],
)
def test_a_slow_drip_ends_at_the_deadline(answer):
    with OddServer(answer) as server:
        begun = time.monotonic()
        with pytest.raises(UrlTimedOut) as late:
            fetch(calling("lan.test"), f"http://lan.test:{server.port}/", seconds=_HOLDS)
        assert _HOLDS * 0.9 < time.monotonic() - begun < _HOLDS + 0.4
        assert late.value.passing


def test_a_receiver_that_drips_its_headers_ends_at_the_deadline_too():
    with OddServer(drip(b"HTTP/1.1 200 OK\r\nX-Slow: ")) as server:
        begun = time.monotonic()
        with pytest.raises(UrlTimedOut):
            post(calling("lan.test"), f"http://lan.test:{server.port}/", timeout=_HOLDS)
        assert time.monotonic() - begun < _HOLDS + 0.4


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(drip(_OK + b"Content-Length: 400\r\n\r\n"), id="drip"),
        pytest.param(endless(_OK + b"\r\n", b"x" * 65536), id="endless"),
        pytest.param(raw(_OK + b"Content-Length: 400\r\n\r\nxxx"), id="cut"),
    ],
)
def test_a_receivers_status_holds_whatever_becomes_of_its_body(answer):
    with OddServer(answer) as server:
        begun = time.monotonic()
        answer = post(calling("lan.test"), f"http://lan.test:{server.port}/", timeout=10)
        assert answer.status == 200
        assert 3 <= len(answer.body_excerpt) <= 1024
        assert set(answer.body_excerpt) == {"x"}
        assert time.monotonic() - begun < 2


def test_a_server_that_does_not_take_a_large_request_ends_at_the_deadline():
    with OddServer(lambda connection, _: time.sleep(3)) as server:
        begun = time.monotonic()
        with pytest.raises(UrlTimedOut):
            calling("lan.test").post(f"http://lan.test:{server.port}/", bytes(50_000_000), {}, timeout=_HOLDS)
        assert time.monotonic() - begun < _HOLDS + 0.6


def test_a_resolver_that_does_not_answer_ends_at_the_deadline():
    def slow(host, port):
        time.sleep(3)
        return ["93.184.215.14"]

    begun = time.monotonic()
    with pytest.raises(UrlRefused) as refused:
        post(Outgoing(Policy(resolve=slow)), "http://slow.example/", timeout=0.3)
    assert refused.value.reason == "unresolvable"
    assert time.monotonic() - begun < 0.8


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(plain(bytes(1001)), id="told"),
        pytest.param(endless(_OK + b"\r\n", b"x" * 65536), id="endless"),
        pytest.param(endless(_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1000), id="chunks"),
        pytest.param(
            endless(_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"e" * 1000 + b"\r\nx\r\n"), id="chunk marks"
        ),
        pytest.param(endless(b"", b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" * 100), id="informational"),
    ],
)
def test_an_endless_body_ends_at_the_limit(answer):
    with OddServer(answer) as server:
        kept = bytearray()
        with pytest.raises(UrlTooLarge):
            calling("lan.test").download(f"http://lan.test:{server.port}/", kept.extend, max_bytes=1000, seconds=10)
        assert len(kept) <= 1000


def test_a_body_of_just_the_limit_is_taken():
    with OddServer(plain(bytes(range(250)) * 4)) as server:
        found, data = fetch(calling("lan.test"), f"http://lan.test:{server.port}/", max_bytes=1000)
        assert (found.size, data) == (1000, bytes(range(250)) * 4)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(endless(b"HTTP/1.1 200 OK\r\n", b"X-Huge: " + b"x" * 1000 + b"\r\n"), id="many headers"),
        pytest.param(endless(b"HTTP/1.1 200 OK\r\nX-Huge: ", b"x" * 1000), id="one header"),
        pytest.param(raw(b"SSH-2.0-OpenSSH_9.6\r\n"), id="no HTTP"),
        pytest.param(raw(b""), id="nothing"),
        pytest.param(raw(_OK + b"Content-Length: 400\r\n\r\nxxx"), id="cut short"),
        pytest.param(raw(_OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nxxxxx\r\n"), id="no last chunk"),
    ],
)
def test_what_is_no_whole_answer_is_none(answer):
    with OddServer(answer) as server, pytest.raises(UrlBadAnswer) as bad:
        fetch(calling("lan.test"), f"http://lan.test:{server.port}/")
    assert bad.value.passing


def test_a_bomb_is_never_unpacked():
    bomb = gzip.compress(bytes(20_000_000))
    with OddServer(plain(bomb, Content_Encoding="gzip")) as server:
        client, url = calling("lan.test"), f"http://lan.test:{server.port}/"
        with pytest.raises(UrlBadAnswer) as bad:
            fetch(client, url)
        assert not bad.value.passing
        assert len(post(client, url).body_excerpt) <= 1024


def test_redirects_are_followed_three_times():
    url = "http://lan.test:{}/{}"
    with OddServer(plain(b"there")) as last:
        location = url.format(last.port, "there")
        with OddServer(redirect("/b", "301 Moved"), redirect("c ü?d", "308 For Ever"), redirect(location)) as server:
            found, data = fetch(calling("lan.test"), url.format(server.port, "a/"))
            assert data == b"there"
            assert [request.split(b" ")[1] for request in server.requests] == [b"/a/", b"/b", b"/c%20%C3%BC?d"]
            assert found.size == 5


def test_a_redirect_loop_is_refused():
    with OddServer(redirect("/again")) as server:
        with pytest.raises(UrlRefused) as refused:
            fetch(calling("lan.test"), f"http://lan.test:{server.port}/")
        assert refused.value.reason == "redirect"
        assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("status", "passing"),
    [(status, status in PASSING) for status in (204, 206, 304, 400, 401, 403, 404, 410, *PASSING)],
)
def test_another_status_than_200_is_told(status, passing):
    with OddServer(plain(b"", f"{status} Word")) as server, pytest.raises(UrlBadStatus) as bad:
        fetch(calling("lan.test"), f"http://lan.test:{server.port}/")
    assert (bad.value.status, bad.value.passing) == (status, passing)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="tape 12.wav"', "tape 12.wav"),
        ("attachment; filename=tape.wav", "tape.wav"),
        ("attachment; filename=\"x.wav\"; filename*=UTF-8''gr%C3%BC%C3%9Fe.wav", "x.wav"),
        ("inline; filename*=UTF-8''gr%C3%BC%C3%9Fe.wav", "grüße.wav"),
        ("attachment", None),
        ("filename", None),
    ],
)
def test_a_server_may_name_the_file(header, name):
    with OddServer(plain(b"x", Content_Disposition=header)) as server:
        assert fetch(calling("lan.test"), f"http://lan.test:{server.port}/")[0].filename == name


def test_nobody_there():
    with pytest.raises(UrlUnreachable) as gone:
        post(calling("lan.test"), f"http://lan.test:{free_port()}/")
    assert gone.value.passing


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Files of a certificate for `lan.test` that vouches for itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-days", "2", "-subj", "/CN=lan.test", "-addext", "subjectAltName=DNS:lan.test"]
    try:
        subprocess.run(
            [*made, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def tls_server(certificate):
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.seen = []
    context.sni_callback = lambda sock, name, _: context.seen.append(name)
    with OddServer(plain(b"over TLS"), tls=context) as server:
        server.seen = context.seen
        yield server


def test_tls_is_verified_for_the_name_and_sends_it(tls_server, certificate):
    trusting = ssl.create_default_context(cafile=certificate[0])
    names = {"lan.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]}
    client = calling("127.0.0.1", names=names, tls=trusting)
    assert fetch(client, f"https://lan.test:{tls_server.port}/")[1] == b"over TLS"
    assert tls_server.seen == ["lan.test"]
    assert b"Host: lan.test:" in tls_server.requests[0]
    for url in (f"https://other.test:{tls_server.port}/", f"https://127.0.0.1:{tls_server.port}/"):
        with pytest.raises(UrlUnreachable, match="certificate"):
            fetch(client, url)
    with pytest.raises(UrlUnreachable, match="certificate"):
        fetch(calling("lan.test"), f"https://lan.test:{tls_server.port}/")
    assert len(tls_server.requests) == 1


def test_a_handshake_that_drips_ends_at_the_deadline():
    def drip_records(connection, _):
        drip(b"\x16\x03\x03\x40\x00")(connection, b"")

    with OddServer(drip_records) as server:
        begun = time.monotonic()
        with pytest.raises((UrlTimedOut, UrlUnreachable)):
            post(calling("lan.test"), f"https://lan.test:{server.port}/", timeout=_HOLDS)
        assert time.monotonic() - begun < _HOLDS + 0.4


def test_a_redirect_from_https_to_http_is_refused(certificate):
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    client = calling("lan.test", tls=ssl.create_default_context(cafile=cert))
    with OddServer(plain()) as bare, OddServer(redirect(f"http://lan.test:{bare.port}/"), tls=context) as server:
        with pytest.raises(UrlRefused) as refused:
            fetch(client, f"https://lan.test:{server.port}/")
        assert refused.value.reason == "redirect"
        assert bare.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        redirect("http://10.0.0.1/" + SECRET),
        plain(b"", "404 Not Found"),
        plain(bytes(200_000)),
        plain(b"", Content_Encoding="br"),
        raw(b"no HTTP"),
        drip(_OK),
    ],
)
def test_no_error_and_no_log_tells_path_or_query(answer, caplog):
    caplog.set_level("DEBUG")
    caplog.set_level("WARNING", "httpcore")  # as shared.log has it, for it writes headers down
    with OddServer(answer) as server, pytest.raises(OutgoingError) as failed:
        fetch(calling("lan.test"), f"http://lan.test:{server.port}/{SECRET}", seconds=_HOLDS)
    told = "".join(traceback.format_exception(failed.value, chain=False)) + str(failed.value)
    for part in SECRET.replace("/", "?").split("?"):
        if part != "x":
            assert part not in failed.value.message
            assert part not in told
    target = check_url(f"http://public.example/{SECRET}", policy=Policy(resolve=resolver))
    assert "signature" not in repr(target)
    assert "path-7f3a" not in repr(target)
    assert "signature" not in caplog.text


def test_a_url_is_shown_without_its_query():
    assert without_secrets("https://public.example/a.wav?X-Amz-Signature=abc") == "https://public.example/a.wav"
    assert without_secrets("https://public.example/a.wav") == "https://public.example/a.wav"
