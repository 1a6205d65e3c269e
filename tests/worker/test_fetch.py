"""Jobs by URL through the steps of a real worker: fetched, restored, and what goes wrong on the way."""

import io
import threading
import time

import numpy as np
import pytest

from shared.errors import StorageUnavailable
from shared.jobs import Ending, Manifest, Status
from shared.keys import ending_key, fetched_key, manifest_key
from shared.outgoing import AllowList, Outgoing, Policy
from shared.recovery import Found, Recovery
from tests.support.odd_server import OddServer, plain, raw, redirect
from tests.worker.test_steps import decoded, noise, wav

SECRET = "X-Amz-Signature=fe5f80"
NAMES = {"lan.test": ["127.0.0.1"], "inside.test": ["10.1.2.3"]}


@pytest.fixture
def data():
    return wav(noise(60_000, 2))


@pytest.fixture
def fetching(bench):
    """A bench whose worker may call `lan.test`."""

    def make(**settings):
        worker = bench(**settings)
        worker.ctx.outgoing = Outgoing(Policy(AllowList.of(["lan.test"]), resolve=lambda host, port: NAMES[host]))
        return worker

    return make


def at(server, path="tape%2012.wav"):
    return f"http://lan.test:{server.port}/{path}?{SECRET}"


def failed(worker, job_id):
    job = worker.records.get(job_id)
    assert job.status is Status.FAILED
    assert job.error.stage == "split"
    assert "Signature" not in job.error.message
    assert "tape" not in job.error.message
    worker.sweep()
    assert worker.objects(job_id) == ["end.json"]
    return job.error


def test_a_job_by_url_gives_what_the_same_recording_sent_gives(fetching, data):
    worker = fetching()
    sent = worker.submit(data)
    worker.run()
    with OddServer(redirect("/moved?again"), plain(data)) as server:
        job = worker.submit_url(at(server))
        worker.run()
        assert [request.split(b" ")[1] for request in server.requests] == [
            b"/tape%2012.wav?" + SECRET.encode(),
            b"/moved?again",
        ]
    assert worker.result(job) == worker.result(sent)
    assert worker.objects(job) == ["end.json", "result.1"]


def test_a_mel_may_come_by_url_too(fetching):
    mel = io.BytesIO()
    np.save(mel, np.abs(noise(300, 128)))
    worker = fetching()
    with OddServer(plain(mel.getvalue())) as server:
        job = worker.submit_url(at(server, "clean.npy"), stages=("vocode",), filename="clean.npy")
        worker.run()
    assert worker.records.get(job).output.filename == "clean-restored.wav"
    assert len(decoded(worker.result(job))[0]) == 441 * 299


def test_the_server_may_name_the_file_and_the_name_outlives_the_attempt(fetching, data, monkeypatch):
    worker = fetching()
    with OddServer(plain(data, Content_Disposition='attachment; filename="../Spool 7.wav"')) as server:
        job = worker.submit_url(at(server, "download"), filename="download")
        with monkeypatch.context() as patch:
            patch.setattr(worker.records, "complete_split", _dies)
            worker.step()
        worker.run()
        assert len(server.requests) == 1, "what is here is not asked for twice"
    assert worker.records.get(job).output.filename == "Spool 7-restored.wav"


def _dies(*_, **__):
    raise RuntimeError("the worker dies when it has read the recording")


def test_two_workers_that_fetch_at_once_never_share_an_object(fetching, data):
    """The first is thought dead in the middle of its download, and comes back when the second has split the job."""
    other = wav(noise(60_000, 2, seed=1))
    halfway, go_on = threading.Event(), threading.Event()

    def slowly(connection, request):
        half = len(other) // 2
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(other) + other[:half])
        halfway.set()
        go_on.wait(10)
        connection.sendall(other[half:])

    worker = fetching()
    sent = worker.submit(data)
    worker.run()
    with OddServer(slowly, plain(data)) as server:
        job = worker.submit_url(at(server))
        message = worker.waiting[0]
        first = threading.Thread(target=worker.step)
        first.start()
        assert halfway.wait(10)
        worker.step_elsewhere(message)
        go_on.set()
        first.join(10)
        kept = [name for name in worker.objects(job) if "source" in name]
        assert "work/source.2" in kept
        worker.run()
    assert worker.result(job) == worker.result(sent)
    worker.sweep()
    assert worker.objects(job) == ["end.json", "result.1"]


def test_a_job_that_is_split_again_reads_what_it_was_split_from(fetching, data):
    worker = fetching()
    sent = worker.submit(data)
    worker.run()
    with OddServer(plain(data), plain(b"", "404 Gone")) as server:
        job = worker.submit_url(at(server))
        worker.step()
        # A late attempt left something else, and a power cut took the working audio.
        worker.store.put(fetched_key(job, 0), wav(noise(60_000, 2, seed=1)))
        worker.store.delete(f"jobs/{job}/work/pcm.1")
        worker.run()
        assert len(server.requests) == 1
    assert worker.result(job) == worker.result(sent)


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_what_is_away_for_a_while_is_asked_again(fetching, data, status):
    worker = fetching()
    away = plain(b"", f"{status} Away")
    with OddServer(away, raw(b""), away, plain(data)) as server:
        job = worker.submit_url(at(server))
        worker.step()
        assert not worker.waiting
        assert worker.client.zcard("w:later") == 1
        worker.run()
        assert len(server.requests) == 4
    assert worker.records.get(job).status is Status.SUCCEEDED


@pytest.mark.parametrize(
    ("answer", "told"),
    [(plain(b"", "503 Away"), "503"), (raw(b""), "no whole HTTP"), (lambda *_: time.sleep(1), "in time")],
)
def test_but_not_for_ever(fetching, answer, told):
    worker = fetching(input_url_attempts=3, input_url_seconds=0.2)
    with OddServer(answer) as server:
        job = worker.submit_url(at(server))
        worker.run()
        assert len(server.requests) == 3
    error = failed(worker, job)
    assert error.code == "input_url_failed"
    assert told in error.message


def test_troubles_of_storage_do_not_count_against_the_url(fetching, data, monkeypatch):
    worker = fetching(input_url_attempts=2)
    writer, left = worker.store.writer, [4]

    def away(*args, **kwargs):
        left[0] -= 1
        if left[0] >= 0:
            raise StorageUnavailable("away")
        return writer(*args, **kwargs)

    monkeypatch.setattr(worker.store, "writer", away)
    with OddServer(plain(b"", "503 Away"), plain(data)) as server:
        job = worker.submit_url(at(server))
        worker.run()
        assert len(server.requests) == 2
    assert worker.records.get(job).status is Status.SUCCEEDED


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        (plain(b"", "404 Not Found"), "input_url_failed", "404"),
        (plain(b"", "403 Forbidden"), "input_url_failed", "403"),
        (plain(b""), "input_url_failed", "without a single byte"),
        (plain(b"x", Content_Encoding="gzip"), "input_url_failed", "compressed"),
        (plain(bytes(200_001)), "input_too_large", "200000"),
        (raw(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(200_001)), "input_too_large", "200000"),
        (redirect("http://inside.test/"), "input_url_refused", "inside.test"),
        (redirect("http://169.254.169.254/latest/meta-data"), "input_url_refused", "169.254.169.254"),
        (redirect("file:///etc/passwd"), "input_url_refused", "http"),
        (redirect("/round"), "input_url_refused", "3 times"),
        (plain(b"this is no recording"), "audio_unreadable", ""),
    ],
)
def test_what_would_be_the_same_again_fails_the_job_at_once(fetching, answer, code, told):
    worker = fetching(max_upload_bytes=200_000)
    with OddServer(answer) as server:
        job = worker.submit_url(at(server))
        worker.run()
        assert len(server.requests) == (4 if told == "3 times" else 1)
    error = failed(worker, job)
    assert error.code == code
    assert told in error.message


def test_a_name_that_is_bound_anew_after_submit_is_not_called(fetching):
    worker = fetching()
    job = worker.submit_url(f"http://inside.test/tape.wav?{SECRET}")
    worker.run()
    assert failed(worker, job).code == "input_url_refused"


def test_a_job_that_is_canceled_stops_its_download(fetching):
    begun, ended = threading.Event(), threading.Event()

    def endless(connection, _):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        begun.set()
        try:
            for _ in range(200):
                connection.sendall(bytes(10_000))
                time.sleep(0.02)
        except OSError:
            ended.set()

    worker = fetching()
    with OddServer(endless) as server:
        job = worker.submit_url(at(server))
        step = threading.Thread(target=worker.step)
        step.start()
        assert begun.wait(5)
        worker.records.cancel(job)
        step.join(3)
        assert not step.is_alive()
        assert ended.wait(3)
    assert worker.records.get(job).status is Status.CANCELED
    worker.sweep()
    assert worker.objects(job) == ["end.json"]


def test_a_job_whose_record_is_lost_begins_again_from_its_manifest(fetching, data):
    worker = fetching()
    with OddServer(plain(data), plain(b"", "404 Gone")) as server:
        job = worker.submit_url(at(server))
        manifest = worker.records.manifest(job)
        worker.store.put(manifest_key(job), manifest.model_dump_json().encode())
        worker.step()
        worker.client.flushall()
        worker.waiting.clear()
        recovery = Recovery(worker.store, worker.records, worker.retention, worker)
        assert dict(recovery.all()) == {job: Found.BEGUN}
        worker.run()
        assert len(server.requests) == 1
    assert worker.records.get(job).status is Status.SUCCEEDED
    assert Manifest.model_validate_json(worker.store.read(manifest_key(job))).input.url == manifest.input.url
    assert Ending.model_validate_json(worker.store.read(ending_key(job))).status is Status.SUCCEEDED


def test_no_log_line_tells_path_or_query(fetching, data, capsys, caplog):
    worker = fetching()
    with OddServer(plain(b"", "503 Away"), plain(data)) as server:
        worker.submit_url(at(server))
        worker.run()
    with OddServer(plain(b"", "404 Not Found")) as server:
        worker.submit_url(at(server))
        worker.run()
    written = "".join(capsys.readouterr()) + caplog.text
    assert "piece put off" in written
    assert "recording fetched" in written
    assert "Signature" not in written
    assert "tape%2012" not in written
