"""What callers get while Redis or storage is away, and what is left behind."""

import io
import os
import shutil
import time

import pytest

from api.app import create_app
from shared.connections import open_repairs
from shared.errors import QueueUnavailable, StorageUnavailable
from shared.queues import Dispatcher, celery_app
from shared.records import JobRecords, Lane
from shared.storage import open_storage
from tests.api.conftest import Api, folder_settings, make_api
from tests.support.ports import free_port
from tests.support.redis import RedisServer, redis_server


@pytest.fixture
def server(tmp_path):
    """A Redis of the test's own, to be stopped."""
    with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def own(server: RedisServer, tmp_path) -> Api:
    settings = folder_settings(server.url, tmp_path / "store")
    return make_api(settings, open_storage(settings.storage_url))


def unavailable(answer, code):
    assert (answer.status_code, answer.json["code"]) == (503, code), answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert "VFQ_" not in answer.text
    assert "127.0.0.1" not in answer.text


def submit(api: Api):
    return api.client.post("/v1/jobs", data={"file": (io.BytesIO(b"abc"), "a.wav")})


def test_everything_answers_soon_while_redis_is_away_and_works_again_after(own: Api, server: RedisServer):
    job_id = own.submit()["id"]
    own.store.put("incoming/a", b"abc")
    server.stop()
    began = time.monotonic()
    unavailable(submit(own), "queue_unavailable")
    unavailable(own.client.post("/v1/jobs", json={"input": {"key": "incoming/a"}}), "queue_unavailable")
    unavailable(own.client.get(f"/v1/jobs/{job_id}"), "queue_unavailable")
    unavailable(own.client.get("/v1/jobs"), "queue_unavailable")
    unavailable(own.client.post(f"/v1/jobs/{job_id}/cancel"), "queue_unavailable")
    unavailable(own.client.delete(f"/v1/jobs/{job_id}"), "queue_unavailable")
    unavailable(own.client.get(f"/v1/jobs/{job_id}/result"), "queue_unavailable")
    assert time.monotonic() - began < 20
    assert own.objects() == ["incoming/a", *own.objects(job_id)]
    server.start()
    assert own.client.get(f"/v1/jobs/{job_id}").status_code == 200
    assert submit(own).status_code == 202


def test_while_the_broker_is_away_no_job_comes_in(clean_redis, tmp_path):
    broker = f"redis://127.0.0.1:{free_port()}/0"
    settings = folder_settings(clean_redis, tmp_path / "store", broker_url=broker)
    api = make_api(settings, open_storage(settings.storage_url))
    began = time.monotonic()
    unavailable(submit(api), "queue_unavailable")
    assert time.monotonic() - began < 15
    assert api.objects() == []
    assert api.redis.keys("vfq:*") == []
    ready = api.client.get("/readyz")
    assert (ready.status_code, ready.json["redis"]) == (503, "unavailable")


def with_records(api: Api, records: JobRecords):
    """The application with other records."""
    return create_app(api.settings, store=api.store, records=records).test_client()


def test_a_record_that_is_refused_takes_the_objects_with_it(api: Api):
    class Forgetful(JobRecords):
        def create(self, manifest, **limits):
            super().create(manifest, **limits)
            raise QueueUnavailable("the answer was lost")

    client = with_records(api, Forgetful(api.redis))
    answer = client.post("/v1/jobs", data={"file": (io.BytesIO(b"abc"), "a.wav")})
    unavailable(answer, "queue_unavailable")
    assert api.objects() == []
    assert client.get("/v1/jobs").json["jobs"] == []


def test_a_job_that_a_worker_has_begun_counts_although_redis_complained(api: Api):
    """The reconciler had sent its message meanwhile."""

    class Begun(JobRecords):
        def create(self, manifest, **limits):
            super().create(manifest, **limits)
            api.begin(manifest.id)
            raise QueueUnavailable("the answer was lost")

    answer = with_records(api, Begun(api.redis)).post("/v1/jobs", data={"file": (io.BytesIO(b"abc"), "a.wav")})
    assert (answer.status_code, answer.json["status"]) == (202, "processing")
    assert len(api.objects(answer.json["id"])) == 2


def test_a_job_whose_message_cannot_be_sent_is_in_and_the_message_is_missed(api: Api):
    class Silent(Dispatcher):
        def send(self, messages):
            raise QueueUnavailable("away")

    client = create_app(api.settings, store=api.store, dispatcher=Silent(celery_app(api.settings))).test_client()
    answer = client.post("/v1/jobs", data={"file": (io.BytesIO(b"abc"), "a.wav")})
    assert (answer.status_code, answer.json["status"], api.waiting()) == (202, "queued", 0)
    job_id = answer.json["id"]
    assert len(api.objects(job_id)) == 2
    suspects = open_repairs(api.settings).suspects({Lane("split", "interactive"): True})
    assert [one.job_id for one in suspects] == [job_id]


def test_a_folder_that_is_gone_is_told(api: Api, tmp_path):
    url = api.succeed(api.submit()["id"])
    listed = api.client.get("/v1/jobs").json["jobs"]
    shutil.rmtree(tmp_path / "store")
    unavailable(submit(api), "storage_unavailable")
    assert api.client.get(url).status_code in (410, 503)
    assert api.client.get("/v1/jobs").json["jobs"] == listed
    ready = api.client.get("/readyz")
    assert (ready.status_code, ready.json["storage"], ready.json["redis"]) == (503, "unavailable", "ok")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told(api: Api, tmp_path):
    (tmp_path / "store").chmod(0o500)
    unavailable(submit(api), "storage_denied")


def test_an_s3_server_that_is_away_is_told(clean_redis):
    url = f"http://127.0.0.1:{free_port()}"
    store = open_storage("s3://bucket", endpoint=url, access_key="a", secret_key="b")
    api = make_api(folder_settings(clean_redis, "/nowhere"), store)
    began = time.monotonic()
    unavailable(submit(api), "storage_unavailable")
    ready = api.client.get("/readyz")
    assert (ready.status_code, ready.json["storage"]) == (503, "unavailable")
    assert time.monotonic() - began < 20
    # Whether there are keys is not known: nobody comes in.
    assert api.client.get("/v1/jobs").json["code"] == "storage_unavailable"


def test_storage_that_fails_at_the_manifest_leaves_no_record(api: Api):
    class NoManifest:
        def __getattr__(self, name):
            return getattr(api.store, name)

        def put(self, *_args, **_more):
            raise StorageUnavailable("the disk is full")

    client = make_api(api.settings, NoManifest()).client
    unavailable(client.post("/v1/jobs", data={"file": (io.BytesIO(b"abc"), "a.wav")}), "storage_unavailable")
    assert api.objects() == []
    assert api.client.get("/v1/jobs").json["jobs"] == []
    assert api.waiting() == 0


def test_a_job_whose_objects_cannot_be_deleted_stays_to_be_deleted_again(api: Api):
    class Stuck:
        stuck = True

        def __getattr__(self, name):
            return getattr(api.store, name)

        def delete_prefix(self, prefix):
            if self.stuck:
                raise StorageUnavailable("away")
            return api.store.delete_prefix(prefix)

    job_id = api.submit()["id"]
    api.succeed(job_id)
    store = Stuck()
    client = make_api(api.settings, store).client
    unavailable(client.delete(f"/v1/jobs/{job_id}"), "storage_unavailable")
    assert client.get(f"/v1/jobs/{job_id}").status_code == 200
    store.stuck = False
    assert client.delete(f"/v1/jobs/{job_id}").status_code == 204
