"""What S3 alone can get wrong: parts, signatures, keys, and servers that fail half-way."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from shared.errors import StorageDenied, StorageError, StorageUnavailable
from shared.storage import ObjectStore, open_storage
from shared.storage.multipart import MAX_PARTS, MIN_PART, part_length
from shared.storage.s3 import S3Store
from tests.support.canned import CannedServer, canned_server, http_answer
from tests.support.ports import free_port
from tests.support.swift import Bucket

MIB = 1024 * 1024
KEYS = {"access_key": "someone", "secret_key": "hunter2"}


@pytest.fixture
def remote(s3_bucket: Bucket) -> ObjectStore:
    return S3Store(s3_bucket.server.connection, bucket=s3_bucket.name, prefix="pre/")


def uploads(bucket: Bucket) -> list[str]:
    answer = bucket.server.connection.client.list_multipart_uploads(Bucket=bucket.name)
    return [upload["Key"] for upload in answer.get("Uploads", [])]


def at(endpoint: str, **options: str) -> ObjectStore:
    return open_storage("s3://bucket/pre", endpoint=endpoint, **(KEYS | options))


# Parts


def test_objects_lie_under_the_prefix_and_no_others_are_seen(remote, s3_bucket):
    client = s3_bucket.server.connection.client
    client.put_object(Bucket=s3_bucket.name, Key="outside", Body=b"x")
    client.put_object(Bucket=s3_bucket.name, Key="pre/marker/", Body=b"")
    client.put_object(Bucket=s3_bucket.name, Key="pre/two//slashes", Body=b"")
    remote.put("inside", b"x", content_type="audio/flac")

    assert [info.key for info in remote.list()] == ["inside"]
    found = client.head_object(Bucket=s3_bucket.name, Key="pre/inside")
    assert found["ContentType"] == "audio/flac"


@pytest.mark.parametrize(("size", "tag"), [(3 * MIB, ""), (5 * MIB, ""), (5 * MIB + 1, "-2"), (12 * MIB, "-3")])
def test_only_what_passes_one_part_becomes_a_multipart_upload(remote, s3_bucket, size, tag):
    with remote.writer("a", content_type="audio/wav", part_size=5 * MIB) as out:
        out.write(bytes(size))
        info = out.commit()

    assert info.size == size
    assert info.etag[32:] == tag
    found = s3_bucket.server.connection.client.head_object(Bucket=s3_bucket.name, Key="pre/a")
    assert found["ContentType"] == "audio/wav"
    assert uploads(s3_bucket) == []


def test_an_aborted_upload_leaves_no_parts(remote, s3_bucket):
    with remote.writer("a", part_size=5 * MIB) as out:
        out.write(bytes(11 * MIB))
        assert uploads(s3_bucket) == ["pre/a"]

    assert uploads(s3_bucket) == []
    assert list(remote.list()) == []


@pytest.mark.parametrize("before", [[], [b"before"]])
@pytest.mark.parametrize("moment", ["upload_part", "complete_multipart_upload"])
def test_an_upload_that_another_process_ended_is_an_error_and_changes_nothing(
    remote, s3_bucket, monkeypatch, before, moment
):
    client = s3_bucket.server.connection.client
    real = getattr(client, moment)

    def late(**given):
        assert remote.sweep(timedelta(seconds=-5)) == 1
        return real(**given)

    for data in before:
        remote.put("a", data)
    with remote.writer("a", part_size=5 * MIB) as out:
        out.write(bytes(11 * MIB))
        monkeypatch.setattr(client, moment, late)
        with pytest.raises(StorageError, match="ended by someone else"):
            out.commit()

    assert [remote.read(info.key) for info in remote.list()] == before


def test_a_completion_whose_answer_was_lost_is_found_complete(remote, s3_bucket, monkeypatch):
    client = s3_bucket.server.connection.client
    complete = client.complete_multipart_upload

    def lose(**upload):
        complete(**upload)
        return complete(**upload)  # botocore asks again after a time-out

    monkeypatch.setattr(client, "complete_multipart_upload", lose)
    with remote.writer("a", part_size=5 * MIB) as out:
        out.write(b"x" * 11 * MIB)
        info = out.commit()

    assert info == remote.head("a")
    assert info.size == 11 * MIB


def test_a_writer_holds_no_more_than_two_parts_in_memory(remote):
    block = bytes(300_000)
    with remote.writer("a", part_size=5 * MIB) as out:
        tracemalloc.start()
        try:
            for _ in range(100):
                out.write(block)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert out.commit().size == 30_000_000

    assert peak < 2 * 5 * MIB


def test_parts_are_equal_at_first_and_grow_so_that_any_archive_fits():
    lengths = [part_length(number, MIN_PART) for number in range(1, MAX_PARTS + 1)]

    assert set(lengths[:5000]) == {MIN_PART}
    assert sum(lengths) > 300e9
    assert max(lengths) < 256e6
    assert lengths == sorted(lengths)


def test_parts_too_small_for_s3_are_a_mistake_of_the_caller(remote):
    with pytest.raises(ValueError, match="part_size"):
        remote.writer("a", part_size=MIN_PART - 1)


def test_an_object_replaced_under_an_open_file_is_an_error_not_a_mixture(remote):
    remote.put("a", bytes(3 * MIB))
    with remote.open("a") as file:
        file.read(10)
        remote.put("a", b"x" * 3 * MIB)
        file.seek(2 * MIB)
        with pytest.raises(StorageError, match="replaced"):
            file.read(10)


# Signed URLs


def test_a_signed_url_gives_the_object_its_name_and_type(remote):
    remote.put("a", bytes(range(100)))
    url = remote.presign_get("a", expires=60, filename='Ä "x".wav', content_type="audio/wav")

    answer = httpx.get(url)

    assert (answer.status_code, answer.content) == (200, bytes(range(100)))
    assert answer.headers["content-type"] == "audio/wav"
    disposition = answer.headers["content-disposition"]
    assert disposition == "attachment; filename=\"_ _x_.wav\"; filename*=UTF-8''%C3%84%20%22x%22.wav"
    assert httpx.get(url, headers={"range": "bytes=10-19"}).content == bytes(range(10, 20))


def test_a_signed_url_is_good_for_nothing_else(remote):
    remote.put("a", b"mine")
    remote.put("b", b"another's")
    url = remote.presign_get("a", expires=60)
    last = "0" if url[-1] != "0" else "1"

    for wrong in (url[:-1] + last, url.replace("/pre/a", "/pre/b"), url.replace("Expires=60", "Expires=600")):
        assert wrong != url
        assert httpx.get(wrong).status_code == 403
    assert httpx.put(url, content=b"changed").status_code == 403
    assert httpx.delete(url).status_code == 403
    assert remote.read("a") == b"mine"


def test_a_signed_url_expires(remote, monkeypatch):
    remote.put("a", b"x")
    import botocore.auth

    now = botocore.auth.get_current_datetime()
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_: now - timedelta(seconds=100))

    assert httpx.get(remote.presign_get("a", expires=160)).status_code == 200
    assert httpx.get(remote.presign_get("a", expires=60)).status_code == 403


def test_a_signed_upload_takes_the_signed_type_alone(remote):
    url = remote.presign_put("a", expires=60, content_type="audio/wav")

    assert httpx.put(url, content=b"x", headers={"content-type": "text/html"}).status_code == 403
    assert httpx.put(url, content=b"x", headers={"content-type": "audio/wav"}).status_code == 200
    assert remote.read("a") == b"x"


def test_urls_are_signed_for_the_address_that_clients_use(s3_bucket):
    outside = s3_bucket.server.endpoint.replace("127.0.0.1", "localhost")
    store = open_storage(s3_bucket.url, public_endpoint=outside, **s3_bucket.options)
    store.put("a", b"x")

    url = store.presign_get("a", expires=60)

    assert url.startswith(f"{outside}/{s3_bucket.name}/a?")
    assert httpx.get(url).content == b"x"


@pytest.mark.parametrize("expires", [0, 7 * 24 * 3600 + 1])
def test_a_signature_that_s3_would_refuse_is_a_mistake_of_the_caller(remote, expires):
    with pytest.raises(ValueError, match="seconds"):
        remote.presign_get("a", expires=expires)


# Servers that refuse


def test_a_wrong_secret_is_denied_and_not_shown(s3_bucket):
    store = open_storage(s3_bucket.url, **(s3_bucket.options | {"secret_key": "hunter2"}))

    for ask in (
        store.check,
        lambda: store.put("a", b"x"),
        lambda: store.read("a"),
        lambda: store.head("a"),
        lambda: list(store.list()),
        lambda: store.delete("a"),
    ):
        with pytest.raises(StorageDenied, match="VFQ_S3_SECRET_KEY") as caught:
            ask()
        assert "hunter2" not in str(caught.value)


def test_an_unknown_access_key_is_denied(s3_bucket):
    store = open_storage(s3_bucket.url, **(s3_bucket.options | {"access_key": "test:nobody"}))

    with pytest.raises(StorageDenied, match="VFQ_S3_ACCESS_KEY"):
        store.check()


def test_a_missing_bucket_is_named(s3_bucket):
    store = open_storage("s3://not-there", **s3_bucket.options)

    for ask in (store.check, lambda: store.put("a", b"x"), lambda: store.read("a"), lambda: list(store.list())):
        with pytest.raises(StorageUnavailable, match=r"not-there.*VFQ_STORAGE_URL"):
            ask()


def test_no_server_is_unavailable():
    with pytest.raises(StorageUnavailable, match="VFQ_S3_ENDPOINT"):
        at(f"http://127.0.0.1:{free_port()}").check()


@pytest.mark.timeout(30)
def test_a_server_that_says_nothing_is_unavailable_after_a_few_seconds():
    with canned_server(b"", waits=True) as server, pytest.raises(StorageUnavailable, match="VFQ_S3_ENDPOINT"):
        at(server.endpoint).check()


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        ("503 Slow Down", StorageUnavailable, "503"),
        ("500 Internal Server Error", StorageUnavailable, "500"),
        ("403 Forbidden", StorageDenied, "bucket"),
        ("301 Moved Permanently", StorageUnavailable, "http or https"),
        ("307 Temporary Redirect", StorageUnavailable, "http or https"),
        ("418 Teapot", StorageError, "418"),
    ],
)
def test_a_refusal_without_a_body_is_told_by_its_status(status, kind, words):
    with canned_server(http_answer(status)) as server, pytest.raises(kind, match=words) as caught:
        at(server.endpoint).check()
    assert len(server.requests) == 1

    assert type(caught.value) is kind


@pytest.mark.parametrize("status", ["200 OK", "302 Found"])
def test_a_server_that_is_no_s3_names_the_setting_to_look_at(status):
    page = http_answer(status, b"<!doctype html><p>It works!", location="https://example.org/")
    with canned_server(page) as server, pytest.raises(StorageError, match="VFQ_S3_ENDPOINT"):
        list(at(server.endpoint).list())


# Servers that fail half-way


@pytest.fixture
def cut() -> Iterator[CannedServer]:
    """Promises 1,000 bytes and sends 100."""
    with canned_server(http_answer("200 OK", bytes(100), content_length="1000", etag='"e"')) as server:
        yield server


def test_a_body_cut_short_is_an_error_not_a_short_read(cut):
    store = at(cut.endpoint)

    with pytest.raises(StorageError, match="before all of its bytes"):
        store.read("a")
    with pytest.raises(StorageError, match="before all of its bytes"):
        list(store.stream("a", chunk=50))


def test_what_came_before_the_cut_is_streamed(cut):
    stream = at(cut.endpoint).stream("a", chunk=50)

    assert next(stream) == bytes(50)


@pytest.mark.parametrize(
    ("status", "span"),
    [("200 OK", {}), ("206 Partial", {"content_range": "bytes 0-99/1000"}), ("206 Partial", {"content_range": "?"})],
)
def test_an_answer_for_another_range_is_an_error(status, span):
    answer = http_answer(status, bytes(100), etag='"e"', **span)
    with canned_server(answer) as server, pytest.raises(StorageError, match="another range"):
        at(server.endpoint).read("a", 500, 600)


def test_leaving_a_stream_early_closes_its_connection():
    answer = http_answer("200 OK", bytes(MIB), content_length=str(1000 * MIB), etag='"e"')
    with canned_server(answer, waits=True) as server:
        with at(server.endpoint).stream("a", chunk=1000) as stream:
            next(stream)
            assert not server.left.is_set()

        assert server.left.wait(10)


def test_streams_read_to_their_end_share_one_connection(s3_bucket):
    remote = open_storage(f"{s3_bucket.url}/pre", **s3_bucket.options)
    assert isinstance(remote, S3Store)
    remote.put("a", bytes(5000))
    manager = remote._client._endpoint.http_session._manager

    for _ in range(5):
        assert len(list(remote.stream("a", chunk=1000))) == 5

    [pool] = manager.pools._container.values()
    assert pool.num_connections == 1


def test_reading_in_order_makes_few_requests_and_jumping_reads_little(remote, monkeypatch):
    size = 12 * MIB
    remote.put("a", bytes(size))
    spans: list[tuple[int, int | None]] = []
    get = S3Store._get

    def counted(self, key, start, stop, **rest):
        spans.append((start, stop))
        return get(self, key, start, stop, **rest)

    monkeypatch.setattr(S3Store, "_get", counted)
    with remote.open("a") as file:
        while file.read(40_000):
            pass
        in_order = len(spans)
        for where in range(0, size, MIB):
            file.seek(where)
            file.read(1000)

    assert in_order <= 8
    assert sum(stop - start for start, stop in spans[in_order:]) <= 3 * MIB
