"""Recordings that are sent before their jobs: through the API to a folder or to a real S3 server, and past it."""

import hashlib
import random
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from shared.errors import StorageUnavailable
from shared.jobs import Priority
from shared.keys import source_key, upload_prefix
from shared.settings import Settings
from shared.storage import ObjectStore, open_storage
from shared.storage.s3 import S3Store
from tests.api.conftest import Api, folder_settings, make_api
from tests.api.test_keys import key
from tests.api.test_openapi import faults

MIB = 1024 * 1024
PART = 5 * MIB
WAYS = ("folder", "direct", "proxied")


def bucket_store(request) -> ObjectStore:
    bucket = request.getfixturevalue("s3_bucket")
    return S3Store(bucket.server.connection, bucket=bucket.name, prefix="some/prefix/")


def make(request, way: str, **more) -> Api:
    """An application whose clients send to a folder, to S3 itself, or to S3 through the API."""
    redis_url, more = request.getfixturevalue("clean_redis"), {"upload_part_bytes": PART, **more}
    if way == "folder":
        settings = folder_settings(redis_url, request.getfixturevalue("tmp_path") / "store", **more)
        return make_api(settings, open_storage(settings.storage_url))
    endpoint = {"s3_endpoint": "http://s3.internal"} if way == "proxied" else {}
    settings = Settings(redis_url=redis_url, storage_url="s3://bucket/some/prefix", **endpoint, **more)
    return make_api(settings, bucket_store(request))


@pytest.fixture(params=WAYS)
def any_api(request) -> Api:
    return make(request, request.param)


@pytest.fixture
def direct(request) -> Api:
    return make(request, "direct")


def begin(api: Api, size: int, headers=None, **more):
    answer = api.client.post("/v1/uploads", json={"filename": "tape.wav", "bytes": size, **more}, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == answer.json["urls"]["self"]
    return answer.json


def put(api: Api, part, data: bytes):
    """Send bytes as a client does that knows no more than what it was told; gives status, etag and code."""
    assert part["method"] == "PUT"
    if part["url"].startswith("http://localhost/"):
        answer = api.client.put(part["url"], data=data, headers={**part["headers"], "Content-Length": str(len(data))})
        return answer.status_code, answer.headers.get("ETag"), answer.json["code"] if answer.json else None
    sent = httpx.put(part["url"], content=data, headers={**part["headers"], "Content-Length": str(len(data))})
    return sent.status_code, sent.headers.get("ETag"), None


def complete(api: Api, upload, parts=None, headers=None):
    body = {} if parts is None else {"json": {"parts": parts}}
    return api.client.post(upload["urls"]["complete"], headers=headers, **body)


def parts_of(api: Api, upload, count=100):
    found, address = [], f"{upload['urls']['parts']}?count={count}"
    while address:
        page = api.client.get(address).json
        found += page["parts"]
        address = page["next"]
    return found


def submit(api: Api, upload_id: str, headers=None, **more):
    return api.client.post("/v1/jobs", json={"input": {"upload": upload_id}, **more}, headers=headers)


def refused(answer, status: int, code: str) -> None:
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text


def left(api: Api, upload) -> list[str]:
    return [info.key for info in api.store.list(upload_prefix(upload["id"]))]


def whole(api: Api, data: bytes, headers=None, **more):
    """Upload in one piece."""
    upload = begin(api, len(data), headers, **more)
    assert put(api, upload, data)[0] == 200
    answer = complete(api, upload, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json


def test_what_is_uploaded_in_one_piece_becomes_jobs(any_api: Api):
    data = random.Random(1).randbytes(100_000)
    digest = hashlib.sha256(data).hexdigest().upper()
    upload = begin(any_api, len(data), content_type="audio/wav", sha256=digest, filename="a/b/täpe.wav")
    assert (upload["status"], upload["part_size"], upload["filename"]) == ("pending", None, "täpe.wav")
    status, etag, _ = put(any_api, upload, data)
    assert (status, etag) == (200, f'"{hashlib.md5(data).hexdigest()}"')
    received = any_api.client.get(upload["urls"]["self"]).json["received"]
    assert received == [{"number": 1, "bytes": len(data), "etag": etag.strip('"')}]
    done = complete(any_api, upload)
    assert (done.status_code, done.json["status"], done.json["url"]) == (200, "completed", None)
    again = complete(any_api, upload)
    assert (again.status_code, again.json) == (200, done.json)
    jobs = [submit(any_api, upload["id"]).json for _ in range(2)]
    assert any_api.client.delete(upload["urls"]["self"]).status_code == 204
    assert left(any_api, upload) == []
    for job in jobs:
        assert job["input"] == {"filename": "täpe.wav", "bytes": len(data)}
        assert any_api.store.read(source_key(job["id"])) == data, "a job has a copy of its own"
    refused(submit(any_api, upload["id"]), 404, "input_missing")


def test_ten_parts_arrive_at_s3_at_once_out_of_order_and_some_twice(direct: Api):
    data = random.Random(2).randbytes(9 * PART + 12_345)
    upload = begin(direct, len(data), sha256=hashlib.sha256(data).hexdigest())
    assert (upload["part_size"], upload["part_count"], upload["url"]) == (PART, 10, None)
    parts = parts_of(direct, upload, count=4)
    assert [part["number"] for part in parts] == list(range(1, 11))
    pieces = {part["number"]: data[(part["number"] - 1) * PART :][: part["bytes"]] for part in parts}
    refused(complete(direct, upload), 409, "parts_missing")
    order = [parts[number] for number in (9, 3, 0, 7, 1, 8, 2, 6, 4, 5)]
    garbage = bytes(PART)
    assert put(direct, parts[3], garbage)[0] == 200
    with ThreadPoolExecutor(5) as pool:
        sent = list(pool.map(lambda part: put(direct, part, pieces[part["number"]]), [*order, parts[9]]))
    assert {status for status, *_ in sent} == {200}
    tags = {part["number"]: etag for part, (_, etag, _) in zip([*order, parts[9]], sent, strict=True)}
    assert tags == {number: f'"{hashlib.md5(piece).hexdigest()}"' for number, piece in pieces.items()}
    listed = direct.client.get(upload["urls"]["self"]).json["received"]
    assert [part["number"] for part in listed] == list(range(1, 11))
    wrong = [{"number": number, "etag": tags[11 - number]} for number in range(1, 11)]
    refused(complete(direct, upload, wrong), 409, "upload_mismatch")
    refused(complete(direct, upload, wrong[:3]), 409, "upload_mismatch")
    done = complete(direct, upload, [{"number": number, "etag": etag} for number, etag in tags.items()])
    assert done.status_code == 200, done.text
    sums = b"".join(hashlib.md5(pieces[number]).digest() for number in range(1, 11))
    assert done.json["etag"] == f"{hashlib.md5(sums).hexdigest()}-10"
    assert complete(direct, upload).json == done.json
    assert len(left(direct, upload)) == 1
    refused(direct.client.get(upload["urls"]["parts"]), 409, "upload_completed")
    job = submit(direct, upload["id"]).json
    assert direct.client.delete(upload["urls"]["self"]).status_code == 204
    assert hashlib.sha256(direct.store.read(source_key(job["id"]))).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("way", ["folder", "proxied"])
def test_parts_that_the_api_took_in_are_joined(request, way):
    api = make(request, way)
    data = random.Random(3).randbytes(PART + 7)
    upload = begin(api, len(data), sha256=hashlib.sha256(data).hexdigest())
    second, first = reversed(parts_of(api, upload))
    for part, piece in ((first, bytes(PART)), (second, data[PART:]), (first, data[:PART])):
        assert put(api, part, piece)[0] == 200
    assert len(left(api, upload)) == 2, "the later one replaces the first"
    assert complete(api, upload).status_code == 200
    assert len(left(api, upload)) == 1
    assert put(api, first, data[:PART])[2] == "upload_completed"
    job = submit(api, upload["id"]).json
    assert api.client.delete(upload["urls"]["self"]).status_code == 204
    assert api.store.read(source_key(job["id"])) == data


@pytest.mark.parametrize("sent", [b"12345678", b"123456789012"])
def test_another_size_than_was_announced_is_refused(any_api: Api, sent):
    upload = begin(any_api, 10)
    assert put(any_api, upload, sent)[0] in (403, 409), "S3 has signed the length"
    assert left(any_api, upload) == []
    refused(complete(any_api, upload), 409, "parts_missing")
    assert put(any_api, upload, b"1234567890")[0] == 200
    assert complete(any_api, upload).status_code == 200


def test_a_server_that_does_not_mind_the_signed_length_is_minded_at_the_end(direct: Api):
    upload = begin(direct, 10)
    direct.store.put(f"{upload_prefix(upload['id'])}whole", bytes(11))
    refused(complete(direct, upload), 409, "upload_mismatch")
    assert left(direct, upload) == []


def test_another_sha256_than_was_announced_is_refused(any_api: Api):
    upload = begin(any_api, 4, sha256=hashlib.sha256(b"good").hexdigest())
    status, _, code = put(any_api, upload, b"evil")
    assert (status, code) in [(200, None), (409, "upload_mismatch")]
    answer = complete(any_api, upload)
    assert answer.json["code"] in ("upload_mismatch", "parts_missing")
    assert left(any_api, upload) == []
    put(any_api, upload, b"good")
    assert complete(any_api, upload).status_code == 200


def test_another_sha256_of_parts_is_refused(any_api: Api):
    data = bytes(PART + 5)
    upload = begin(any_api, len(data), sha256="a" * 64)
    for part in parts_of(any_api, upload):
        assert put(any_api, part, bytes(part["bytes"]))[0] == 200
    refused(complete(any_api, upload), 409, "upload_mismatch")
    assert submit(any_api, upload["id"]).json["code"] in ("upload_not_completed", "input_missing")


def test_what_is_put_in_place_of_a_completed_upload_is_not_taken_for_it(direct: Api):
    upload = begin(direct, 4)
    put(direct, upload, b"good")
    complete(direct, upload)
    assert put(direct, upload, b"evil")[0] == 200, "the URL holds still"
    refused(submit(direct, upload["id"]), 404, "input_missing")


def test_an_upload_that_is_broken_off_leaves_nothing_in_s3(direct: Api):
    upload = begin(direct, 2 * PART)
    part = parts_of(direct, upload)[0]
    assert put(direct, part, bytes(PART))[0] == 200
    session = direct.client.application.extensions["voicefixer-queue"].uploads.get(upload["id"]).session
    found = direct.store.part_uploads()
    assert set(found.arrived(f"{upload_prefix(upload['id'])}whole", session)) == {1}
    assert direct.client.delete(upload["urls"]["self"]).status_code == 204
    assert found.arrived(f"{upload_prefix(upload['id'])}whole", session) is None
    assert put(direct, part, bytes(PART))[0] == 404
    refused(direct.client.get(upload["urls"]["self"]), 404, "upload_not_found")


def test_a_completion_whose_answer_was_lost_is_asked_for_again(direct: Api):
    upload = begin(direct, PART + 1)
    for part in parts_of(direct, upload):
        put(direct, part, bytes(part["bytes"]))
    place = f"{upload_prefix(upload['id'])}whole"
    session = direct.client.application.extensions["voicefixer-queue"].uploads.get(upload["id"]).session
    found = direct.store.part_uploads()
    arrived = found.arrived(place, session)
    found.finish(place, session, {number: part.etag for number, part in arrived.items()})
    assert complete(direct, upload).json["status"] == "completed"


def test_the_apis_own_urls_hold_for_what_they_were_signed_for_alone(api: Api, monkeypatch):
    upload = begin(api, 4)
    url = upload["url"]
    assert url.startswith("http://localhost/v1/uploads/")
    other = begin(api, 4)["id"]
    signature = url.rsplit("=", 1)[1]
    tampered = [
        url.replace(upload["id"], other),
        url.replace("expires=", "expires=9"),
        url.replace(signature, signature[:-2]),
        url.replace(signature, "ä"),
        url.partition("?")[0],
        url.replace("expires=", "expires=x"),
    ]
    for bad in tampered:
        refused(api.client.put(bad, data=b"data"), 403, "signature_invalid")
    monkeypatch.setattr("api.uploads.links.time.time", lambda: time.monotonic() + 1e10)
    refused(api.client.put(url, data=b"data"), 403, "signature_expired")
    assert left(api, upload) == []


def test_a_url_of_one_part_takes_no_other(api: Api):
    small = make_api(
        api.settings.model_copy(update={"upload_part_bytes": PART, "max_upload_bytes": 99 * MIB}), api.store
    )
    upload = begin(small, 2 * PART)
    first, second = parts_of(small, upload)
    swapped = first["url"].replace("/parts/1?", "/parts/2?")
    refused(small.client.put(swapped, data=b"x"), 403, "signature_invalid")
    refused(small.client.put(second["url"].replace("/parts/2?", "/content?"), data=b"x"), 403, "signature_invalid")


def test_all_processes_sign_alike_and_the_key_may_be_given(api: Api):
    upload = begin(api, 4)
    other = make_api(api.settings, api.store)
    assert put(other, upload, b"data")[0] == 200
    given = make_api(Settings(**{**api.settings.model_dump(), "signing_key": "s" * 40}), api.store)
    refused(given.client.put(upload["url"], data=b"data"), 403, "signature_invalid")
    assert put(given, begin(given, 4), b"data")[0] == 200
    assert "ssss" not in repr(given.settings)


def test_urls_name_the_host_that_was_asked_or_the_one_that_is_set(api: Api):
    anyone = make_api(api.settings.model_copy(update={"auth": "open"}), api.store)
    asked = anyone.client.post(
        "/v1/uploads", json={"filename": "a.wav", "bytes": 1}, base_url="https://audio.example:8443/"
    )
    assert asked.json["url"].startswith("https://audio.example:8443/v1/uploads/")
    public = make_api(api.settings.model_copy(update={"public_url": "https://api.example/vf"}), api.store)
    assert begin(public, 1)["url"].startswith("https://api.example/vf/v1/uploads/")


def test_s3_urls_are_signed_for_the_address_of_clients(request):
    api = make(request, "proxied")
    assert begin(api, 4)["url"].startswith("http://localhost/")
    public = {"s3_public_endpoint": "http://s3.example"}
    for more, way in [
        (public, "127.0.0.1"),
        ({**public, "uploads": "proxy"}, "localhost"),
        ({"uploads": "direct"}, "127"),
    ]:
        changed = make_api(api.settings.model_copy(update=more), api.store)
        assert begin(changed, 4)["url"].startswith(f"http://{way}")


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        ({"filename": "a.wav"}, 422, "invalid_request", "#/bytes"),
        ({"bytes": 4}, 422, "invalid_request", "#/filename"),
        ({"filename": "a.wav", "bytes": 0}, 422, "invalid_request", "#/bytes"),
        ({"filename": "a.wav", "bytes": "4"}, 422, "invalid_request", "#/bytes"),
        ({"filename": "a.wav", "bytes": 4, "sha256": "abc"}, 422, "invalid_request", "#/sha256"),
        ({"filename": "a.wav", "bytes": 4, "content_type": "a\r\nb: c"}, 422, "invalid_request", "#/content_type"),
        ({"filename": "a.wav", "bytes": 4, "x": 1}, 422, "invalid_request", "#/x"),
        ({"filename": "a.wav", "bytes": 4, "sha256": 5}, 422, "invalid_request", "#/sha256"),
        ({"filename": "a.wav", "bytes": 5 * MIB}, 422, "invalid_request", "#/bytes"),
    ],
)
def test_what_cannot_be_announced_is_refused(api: Api, body, status, code, pointer):
    answer = api.client.post("/v1/uploads", json=body)
    refused(answer, status, code)
    assert [error["pointer"] for error in answer.json.get("errors", [])] == ([pointer] if pointer else [])


def test_a_pending_or_foreign_upload_is_no_input(api: Api):
    mine, foreign, admin = key(api), key(api), key(api, scopes=("admin",))
    upload = begin(api, 4, mine)
    refused(submit(api, upload["id"], mine), 409, "upload_not_completed")
    refused(complete(api, upload, headers=foreign), 404, "upload_not_found")
    assert put(api, upload, b"data")[0] == 200, "a signed URL needs no key"
    assert complete(api, upload, headers=mine).status_code == 200
    answer = submit(api, upload["id"], foreign)
    refused(answer, 404, "input_missing")
    assert answer.json["errors"][0]["pointer"] == "#/input/upload"
    assert submit(api, upload["id"], mine).status_code == 202
    assert submit(api, upload["id"], admin).status_code == 202
    assert len([name for name in api.objects() if name.endswith("/source")]) == 2


def test_what_may_be_left_out_may_be_null(api: Api):
    asked = {"filename": "a.wav", "bytes": 4, "content_type": None, "sha256": None}
    answer = api.client.post("/v1/uploads", json=asked)
    assert (answer.status_code, answer.json["sha256"]) == (201, None), answer.text


def test_a_job_names_a_key_or_an_upload(api: Api):
    api.store.put("incoming/a.wav", b"abc")
    both = {"key": "incoming/a.wav", "upload": whole(api, b"data")["id"]}
    for named in (both, {}, {"upload": None}):
        answer = api.client.post("/v1/jobs", json={"input": named})
        refused(answer, 422, "invalid_request")
        assert answer.json["errors"][0]["pointer"] == "#/input"


def test_a_name_of_ones_own_makes_one_job_of_an_upload(api: Api):
    upload = whole(api, b"data")
    body = {"input": {"upload": upload["id"]}}
    first = api.client.put("/v1/jobs/tape", json=body)
    assert (first.status_code, api.client.put("/v1/jobs/tape", json=body).status_code) == (202, 200)


def test_an_upload_that_has_expired_is_none(api: Api):
    upload = whole(api, b"data")
    api.redis.hset(f"vfq:upload:{{{upload['id']}}}", "expires", f"{time.time() - 1:.6f}")
    refused(api.client.get(upload["urls"]["self"]), 404, "upload_not_found")
    refused(submit(api, upload["id"]), 404, "input_missing")


def test_a_key_has_so_many_uploads_at_once(api: Api):
    few = make_api(api.settings.model_copy(update={"max_uploads_per_key": 2}), api.store)
    made = [begin(few, 4) for _ in range(2)]
    answer = few.client.post("/v1/uploads", json={"filename": "a.wav", "bytes": 1})
    refused(answer, 429, "too_many_uploads")
    assert int(answer.headers["Retry-After"]) > 0
    few.client.delete(made[0]["urls"]["self"])
    begin(few, 4)


def test_a_job_that_cannot_be_taken_in_leaves_no_copy(api: Api, monkeypatch):
    upload = whole(api, b"data")
    full = make_api(api.settings.model_copy(update={"max_open_interactive": 1}), api.store)
    assert submit(full, upload["id"]).status_code == 202
    priority: Priority = "interactive"
    monkeypatch.setattr(type(full.records), "open_jobs", lambda self, _: 0)
    refused(submit(full, upload["id"], priority=priority), 429, "too_many_jobs")

    def away(self, source, target):
        self.put(target, b"half")
        raise StorageUnavailable("away")

    monkeypatch.setattr(type(api.store), "copy", away)
    refused(submit(api, upload["id"]), 503, "storage_unavailable")
    assert len([name for name in api.objects() if name.endswith("/source")]) == 1


def test_the_answers_are_those_of_the_document(api: Api):
    document = api.client.get("/openapi.json").json

    def check(answer, path, method):
        content = document["paths"][path][method]["responses"][str(answer.status_code)]["content"][answer.mimetype]
        assert list(faults(document, content["schema"], answer.json)) == []

    sent = api.client.post("/v1/uploads", json={"filename": "a.wav", "bytes": 4, "content_type": "audio/wav"})
    check(sent, "/v1/uploads", "post")
    one, address = "/v1/uploads/{upload_id}", sent.json["urls"]
    check(api.client.get(address["parts"]), one + "/parts", "get")
    check(api.client.post(address["complete"]), one + "/complete", "post")
    check(api.client.put(sent.json["url"], data=b"too much"), one + "/content", "put")
    put(api, sent.json, b"data")
    check(api.client.get(address["self"]), one, "get")
    check(api.client.post(address["complete"], json={"parts": [{"number": 0, "etag": ""}]}), one + "/complete", "post")
    check(api.client.post(address["complete"]), one + "/complete", "post")
    check(api.client.get(address["parts"]), one + "/parts", "get")
    example = document["paths"]["/v1/uploads"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert api.client.post("/v1/uploads", json=example).status_code == 201
