"""Which jobs are not taken in, and when."""

import io

import pytest

from api.jobs.admission import Admission
from shared.errors import StorageUnavailable
from shared.storage import open_storage
from tests.api.conftest import Api, folder_settings, make_api
from tests.support.redis import redis_server


@pytest.fixture
def small(clean_redis, tmp_path) -> Api:
    """One job of each priority at a time."""
    settings = folder_settings(clean_redis, tmp_path / "store", max_open_interactive=1, max_open_bulk=1)
    return make_api(settings, open_storage(settings.storage_url))


@pytest.fixture
def asks_each_time(monkeypatch):
    """What was found before does not hold."""
    monkeypatch.setattr("api.jobs.admission._HOLDS_SECONDS", 0.0)


class Unread(io.RawIOBase):
    """A body of which nothing is to be read."""

    def readinto(self, _buffer):
        raise AssertionError("the body was read")


def announce(api: Api):
    """Begin an upload whose body is not to be read."""
    return api.client.post(
        "/v1/jobs",
        content_type="multipart/form-data; boundary=x",
        environ_overrides={"wsgi.input": Unread(), "CONTENT_LENGTH": "1000000"},
    )


def post(api: Api, **fields):
    return api.client.post("/v1/jobs", data={"file": (io.BytesIO(b"abc"), "a.wav"), **fields})


def post_json(api: Api, **options):
    api.store.put("incoming/a", b"abc")
    return api.client.post("/v1/jobs", json={"input": {"key": "incoming/a"}, **options})


def refused(answer, status, code, words):
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert words in answer.json["detail"]


def test_more_jobs_of_a_priority_than_may_be_open_are_refused_until_one_is_over(small: Api):
    job_id = small.submit()["id"]
    refused(post(small), 429, "too_many_jobs", "interactive jobs")
    refused(post_json(small), 429, "too_many_jobs", "interactive jobs")
    assert small.objects() == ["incoming/a", *small.objects(job_id)]
    assert len(small.client.get("/v1/jobs").json["jobs"]) == 1
    assert post(small, priority="bulk").status_code == 202
    small.succeed(job_id)
    assert post(small).status_code == 202


def test_where_no_job_of_any_priority_would_be_taken_the_upload_is_not_read(small: Api):
    small.submit()
    small.submit(priority="bulk")
    answer = announce(small)
    refused(answer, 429, "too_many_jobs", "Too many jobs")
    assert answer.headers["Connection"] == "close"
    refused(post_json(small, priority="bulk"), 429, "too_many_jobs", "bulk jobs")


@pytest.mark.usefixtures("asks_each_time")
@pytest.mark.parametrize("of", ["records", "messages"])
def test_no_job_comes_in_while_redis_is_nearly_out_of_memory(clean_redis, tmp_path, of):
    with redis_server(tmp_path / "redis") as server:
        urls = {"redis_url": server.url} if of == "records" else {"redis_url": clean_redis, "broker_url": server.url}
        settings = folder_settings(**urls, folder=tmp_path / "store")
        api = make_api(settings, open_storage(settings.storage_url))
        own = api.redis if of == "records" else api.client.application.extensions["voicefixer-queue"].broker
        own.config_set("maxmemory", int(own.info("memory")["used_memory"] / 0.7))
        refused(announce(api), 503, "queue_full", "nearly out of memory")
        refused(post_json(api), 503, "queue_full", "nearly out of memory")
        assert api.client.get("/v1/jobs").json["jobs"] == []
        own.config_set("maxmemory", 0)
        assert post(api).status_code == 202


@pytest.mark.usefixtures("asks_each_time")
def test_no_job_comes_in_while_storage_cannot_be_used(api: Api):
    class Away:
        away = True

        def __getattr__(self, name):
            return getattr(api.store, name)

        def check(self):
            if self.away:
                raise StorageUnavailable("the disk of 10.0.0.1 is away")

    store = Away()
    other = make_api(api.settings, store)
    refused(announce(other), 503, "storage_unavailable", "Storage cannot be used")
    refused(post_json(other), 503, "storage_unavailable", "Storage cannot be used")
    store.away = False
    assert post(other).status_code == 202


class Counted:
    """Storage that counts how often it is asked."""

    asked = 0
    error = None

    def check(self):
        self.asked += 1
        if self.error:
            raise self.error


def test_what_was_found_holds_for_a_moment_good_or_bad(api: Api, monkeypatch):
    moment = [1000.0]
    monkeypatch.setattr("api.jobs.admission.time.monotonic", lambda: moment[0])
    store = Counted()
    admission = Admission(api.settings, api.records, store, [])

    def check():
        """What is found by three who ask at once."""
        found = []
        for _ in range(3):
            try:
                found.append(admission.check("bulk"))
            except StorageUnavailable as error:
                found.append(error.message)
        return found

    for number, error in enumerate([None, StorageUnavailable("away"), None], start=1):
        store.error = error
        assert check() == [error and error.message] * 3
        assert store.asked == number
        store.error = StorageUnavailable("not to be seen yet")
        assert check() == [error and error.message] * 3
        moment[0] += 1.1
