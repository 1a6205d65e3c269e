import httpx
import pytest

from api.http.names import disposition
from shared.keys import job_prefix
from shared.settings import Settings
from shared.storage.s3 import S3Store
from tests.api.conftest import RESULT, Api, make_api


@pytest.fixture
def url(api: Api) -> str:
    return api.succeed(api.submit()["id"])


def test_a_result_is_downloaded_whole(stored_api: Api):
    url = stored_api.succeed(stored_api.submit()["id"])
    answer = stored_api.client.get(url)
    assert (answer.status_code, answer.data) == (200, RESULT)
    assert answer.headers["Content-Length"] == str(len(RESULT))
    assert answer.headers["Content-Type"] == "audio/wav"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert 'filename="speech-restored.wav"' in answer.headers["Content-Disposition"]
    described = stored_api.client.head(url)
    assert (described.status_code, described.data) == (200, b"")
    for name in ("ETag", "Content-Length", "Content-Type", "Accept-Ranges", "Content-Disposition"):
        assert described.headers[name] == answer.headers[name]


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=1000-", 1000, len(RESULT)),
        ("bytes=-100", len(RESULT) - 100, len(RESULT)),
        ("bytes=10000-99999999", 10000, len(RESULT)),
        ("bytes=-99999999", 0, len(RESULT)),
    ],
)
def test_a_part_of_a_result_is_downloaded(stored_api: Api, asked, start, stop):
    url = stored_api.succeed(stored_api.submit()["id"])
    answer = stored_api.client.get(url, headers={"Range": asked})
    assert (answer.status_code, answer.data) == (206, RESULT[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(RESULT)}"
    assert answer.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("asked", ["bytes=99999999-", f"bytes={len(RESULT)}-", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused(api: Api, url, asked):
    answer = api.client.get(url, headers={"Range": asked})
    assert (answer.status_code, answer.json["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{len(RESULT)}"


@pytest.mark.parametrize(
    "asked", ["bytes=5-1", "bytes=a-b", "lines=0-1", "bytes=0-1,4-5", "bytes", "bytes=", "bytes=--1"]
)
def test_a_range_that_makes_no_sense_gets_the_whole(api: Api, url, asked):
    answer = api.client.get(url, headers={"Range": asked})
    assert (answer.status_code, answer.data) == (200, RESULT)


def test_a_download_goes_on_only_with_the_same_result(api: Api, url):
    etag = api.client.head(url).headers["ETag"]
    same = api.client.get(url, headers={"Range": "bytes=5-9", "If-Range": etag})
    assert (same.status_code, same.data) == (206, RESULT[5:10])
    for other in ('"another"', "Sun, 22 Nov 2026 10:00:00 GMT"):
        answer = api.client.get(url, headers={"Range": "bytes=5-9", "If-Range": other})
        assert (answer.status_code, answer.data) == (200, RESULT)


def test_a_result_that_the_client_has_is_not_sent_again(api: Api, url):
    etag = api.client.head(url).headers["ETag"]
    answer = api.client.get(url, headers={"If-None-Match": etag, "Range": "bytes=0-1"})
    assert (answer.status_code, answer.data, answer.headers["ETag"]) == (304, b"", etag)
    assert api.client.get(url, headers={"If-None-Match": '"another"'}).status_code == 200


def test_an_unfinished_job_has_no_result_yet(api: Api):
    job_id = api.submit()["id"]
    for _ in range(2):
        answer = api.client.get(f"/v1/jobs/{job_id}/result")
        assert (answer.status_code, answer.json["code"]) == (409, "job_not_finished")
        assert answer.headers["Retry-After"] == "1"
        api.begin(job_id)


def test_a_failed_job_has_its_reason_for_a_result(api: Api):
    job_id = api.submit()["id"]
    api.fail(job_id)
    answer = api.client.get(f"/v1/jobs/{job_id}/result")
    assert (answer.status_code, answer.json["code"]) == (409, "job_failed")
    assert "This is no audio." in answer.json["detail"]


def test_a_canceled_job_has_no_result(api: Api):
    job_id = api.submit()["id"]
    api.records.cancel(job_id)
    answer = api.client.get(f"/v1/jobs/{job_id}/result")
    assert (answer.status_code, answer.json["code"]) == (409, "job_canceled")


def test_a_result_that_was_removed_is_gone(stored_api: Api):
    job_id = stored_api.submit()["id"]
    url = stored_api.succeed(job_id)
    stored_api.store.delete_prefix(job_prefix(job_id))
    for method in ("get", "head"):
        answer = getattr(stored_api.client, method)(url)
        assert answer.status_code == 410
    assert stored_api.client.get(url).json["code"] == "result_gone"


@pytest.mark.parametrize(
    ("name", "simple", "full"),
    [
        ("a.wav", "a.wav", "a.wav"),
        ("Größe 1.wav", "Groe 1.wav", "Gr%C3%B6%C3%9Fe%201.wav"),
        ("音声.wav", ".wav", "%E9%9F%B3%E5%A3%B0.wav"),
        ('a";b=\\".wav', '".wav', "%22.wav"),
        ("a\r\nSet-Cookie: b.wav", "aSet-Cookie: b.wav", "aSet-Cookie%3A%20b.wav"),
        ("a%20b.wav", "a_20b.wav", "a%2520b.wav"),
        ("\x00", "recording", "recording"),
    ],
)
def test_any_file_name_is_written_safely(name, simple, full):
    simple = simple.replace('"', "_")
    assert disposition(name) == f"attachment; filename=\"{simple}\"; filename*=UTF-8''{full}"


def test_a_result_has_its_name_in_every_alphabet(api: Api):
    url = api.succeed(api.submit()["id"], filename="Größe-restored.wav")
    assert "Gr%C3%B6%C3%9Fe-restored.wav" in api.client.get(url).headers["Content-Disposition"]


@pytest.fixture
def reached(clean_redis: str, s3_bucket) -> Api:
    """On an S3 server that clients can reach."""
    store = S3Store(s3_bucket.server.connection, bucket=s3_bucket.name, prefix="p/")
    return make_api(Settings(redis_url=clean_redis, storage_url="s3://bucket/p"), store)


def test_a_result_in_s3_is_fetched_from_there(reached: Api):
    url = reached.succeed(reached.submit()["id"], filename="Größe-restored.wav")
    sent = reached.client.get(url, headers={"Range": "bytes=5-9"})
    assert (sent.status_code, sent.data, sent.headers["Cache-Control"]) == (302, b"", "no-store")
    there = sent.headers["Location"]
    found = httpx.get(there)
    assert (found.status_code, found.content) == (200, RESULT)
    assert found.headers["Content-Type"] == "audio/wav"
    assert "Gr%C3%B6%C3%9Fe-restored.wav" in found.headers["Content-Disposition"]
    part = httpx.get(there, headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, RESULT[5:10])
    described = httpx.head(reached.client.head(url).headers["Location"])
    assert (described.status_code, described.headers["Content-Length"]) == (200, str(len(RESULT)))
    assert described.headers["Content-Type"] == "audio/wav"
    assert httpx.get(there.replace("X-Amz-Expires=300", "X-Amz-Expires=9000")).status_code == 403
    etag = found.headers["ETag"]
    assert reached.client.get(url, headers={"If-None-Match": etag}).status_code == 304


def test_a_result_that_is_gone_from_s3_is_said_to_be(reached: Api):
    job_id = reached.submit()["id"]
    url = reached.succeed(job_id)
    reached.store.delete_prefix(job_prefix(job_id))
    assert reached.client.get(url).json["code"] == "result_gone"
    assert reached.client.get(f"/v1/jobs/{reached.submit()['id']}/result").json["code"] == "job_not_finished"


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"s3_endpoint": "http://s3.internal"}, 200),
        ({"s3_endpoint": "http://s3.internal", "s3_public_endpoint": "https://s3.example"}, 302),
        ({"s3_endpoint": "http://s3.internal", "results": "redirect"}, 302),
        ({"results": "proxy"}, 200),
        ({"storage_url": "file:///nowhere"}, 200),
    ],
)
def test_results_are_fetched_from_s3_where_clients_reach_it(reached: Api, more, status):
    url = reached.succeed(reached.submit()["id"])
    changed = make_api(reached.settings.model_copy(update=more), reached.store)
    assert changed.client.get(url).status_code == status


def test_a_folder_redirects_to_nowhere(api: Api, url):
    asked = make_api(api.settings.model_copy(update={"results": "redirect"}), api.store)
    assert asked.client.get(url).data == RESULT
