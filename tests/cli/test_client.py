from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.client import Client
from cli.errors import CommandError, ServerProblem, ServerUnreachable, UsageProblem
from cli.network import free_port
from tests.cli.fake_server import Answer, document, fake_server, problem

JOB = {"id": "1", "status": "succeeded"}


def test_a_problem_document_becomes_its_own_sentence() -> None:
    gone = problem(404, "job_not_found", "There is no job of that id.")
    with (
        fake_server({"GET /v1/jobs/1": [gone]}) as server,
        Client(server.url) as client,
        pytest.raises(ServerProblem) as caught,
    ):
        client.job("1")
    assert (caught.value.message, caught.value.problem_code) == ("There is no job of that id.", "job_not_found")
    assert server.asked == ["GET /v1/jobs/1"]


def test_fields_at_fault_are_named() -> None:
    one = [{"pointer": "#/output/format", "detail": "must be wav, flac, aiff, ogg or mp3"}]
    two = [*one, {"pointer": "#/mode", "detail": "must be 0, 1 or 2"}]
    answers = [problem(422, "invalid", "2 fields are wrong.", errors=errors) for errors in (one, two)]
    with fake_server({"POST /v1/jobs/1/cancel": answers}) as server, Client(server.url) as client:
        messages = []
        for _ in range(2):
            with pytest.raises(ServerProblem) as caught:
                client.cancel("1")
            messages.append(caught.value.message)
    assert messages == [
        "output.format: must be wav, flac, aiff, ogg or mp3",
        "2 fields are wrong. output.format: must be wav, flac, aiff, ogg or mp3; mode: must be 0, 1 or 2",
    ]


@pytest.mark.parametrize("answer", [Answer(404, b"<html>nginx</html>", "text/html"), Answer(200, b"[1]"), Answer()])
def test_a_stranger_is_not_taken_for_the_service(answer: Answer) -> None:
    with (
        fake_server({"GET /v1/jobs/1": [answer]}) as server,
        Client(server.url) as client,
        pytest.raises(ServerProblem, match="as voicefixer-queue does: is the URL right"),
    ):
        client.job("1")


def test_reading_outlasts_a_server_that_restarts() -> None:
    away = [Answer(502, b"<html>", "text/html"), problem(503, "queue_unavailable", "Not now.")]
    with fake_server({"GET /v1/jobs/1": [*away, document(JOB)]}) as server, Client(server.url) as client:
        assert client.job("1") == JOB
    assert len(server.asked) == 3


def test_reading_gives_up_with_the_servers_own_words() -> None:
    away = problem(503, "queue_unavailable", "The queue cannot be used right now.")
    with (
        fake_server({"GET /v1/jobs/1": [away]}) as server,
        Client(server.url, patience=0.3) as client,
        pytest.raises(ServerProblem, match="The queue cannot be used right now"),
    ):
        client.job("1")


def test_a_server_that_is_not_there_is_said_so() -> None:
    with (
        Client(f"http://127.0.0.1:{free_port()}", patience=0.3) as client,
        pytest.raises(ServerUnreachable, match="nothing answers there"),
    ):
        client.check()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://", ""])
def test_a_server_is_named_by_a_url(url: str) -> None:
    with pytest.raises(UsageProblem, match="--server"):
        Client(url)


def test_an_upload_is_sent_once_with_its_fields_and_its_progress(tmp_path: Path) -> None:
    path = tmp_path / "täst.wav"
    path.write_bytes(bytes(range(256)) * 1024)
    heard: list[tuple[int, int]] = []
    with fake_server({"POST /v1/jobs": [document(JOB, 202)]}) as server, Client(server.url) as client:
        client.submit(path, {"output.format": "flac"}, lambda done, total: heard.append((done, total)))
    body = server.bodies[0]
    assert path.read_bytes() in body
    assert body.index(b'name="output.format"') < body.index(b'name="file"; filename="t\xc3\xa4st.wav"')
    assert heard[-1] == (256 * 1024, 256 * 1024)
    assert len(heard) > 3


def test_an_upload_is_never_sent_twice(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"a")
    busy = problem(503, "queue_unavailable", "Not now.")
    with (
        fake_server({"POST /v1/jobs": [busy]}) as server,
        Client(server.url) as client,
        pytest.raises(ServerProblem, match="Not now"),
    ):
        client.submit(tmp_path / "a.wav", {}, lambda *_: None)
    assert len(server.asked) == 1


def test_an_upload_waits_for_a_server_that_cannot_be_reached_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(b"RIFF" * 100)
    with fake_server({"POST /v1/jobs": [document({"id": "one"}, 202)]}) as server, Client(server.url) as client:
        post, refusals = client._http.post, [httpx.ConnectError("refused")] * 2

        def restarting(*args: Any, **options: Any) -> httpx.Response:
            if refusals:
                raise refusals.pop()
            return post(*args, **options)

        monkeypatch.setattr(client._http, "post", restarting)
        assert client.submit(path, {}, lambda done, total: None)["id"] == "one"
        assert server.asked == ["POST /v1/jobs"]
        assert path.read_bytes() in server.bodies[0]


@pytest.mark.parametrize("code", ["too_many_jobs", "queue_full", "storage_unavailable"])
def test_an_upload_that_was_not_taken_in_is_sent_again(tmp_path: Path, code: str) -> None:
    (tmp_path / "a.wav").write_bytes(b"a")
    answers = [problem(503, code, "Not now."), document({"id": "one"}, 202)]
    with fake_server({"POST /v1/jobs": answers}) as server, Client(server.url) as client:
        assert client.submit(tmp_path / "a.wav", {}, lambda *_: None)["id"] == "one"
    assert len(server.asked) == 2


def test_an_upload_that_is_never_taken_in_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"a")
    full = problem(429, "too_many_jobs", "Too many jobs are waiting.")
    with (
        fake_server({"POST /v1/jobs": [full]}) as server,
        Client(server.url, patience=0.3) as client,
        pytest.raises(ServerProblem, match="Too many"),
    ):
        client.submit(tmp_path / "a.wav", {}, lambda *_: None)


def test_an_upload_gives_up_on_a_server_that_stays_away(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(b"RIFF")
    with (
        Client(f"http://127.0.0.1:{free_port()}", patience=0.3) as client,
        pytest.raises(ServerUnreachable, match="nothing answers there"),
    ):
        client.submit(path, {}, lambda done, total: None)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(CommandError, match=r"ghost\.wav cannot be read"):
        client.submit(tmp_path / "ghost.wav", {}, lambda *_: None)


def test_a_download_that_breaks_is_begun_again(tmp_path: Path) -> None:
    whole = bytes(200_000)
    cut = Answer(200, whole[:1000], "audio/wav", promised=len(whole))
    with (
        fake_server({"GET /v1/jobs/1/result": [cut, Answer(200, whole, "audio/wav")]}) as server,
        Client(server.url) as client,
    ):
        client.download("1", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == whole


def test_a_result_is_fetched_from_storage_without_the_key(tmp_path: Path) -> None:
    with fake_server({"GET /there?sign=1": [Answer(200, b"restored", "audio/wav")]}) as storage:
        away = Answer(302, headers={"Location": f"{storage.url}/there?sign=1"})
        with fake_server({"GET /v1/jobs/1/result": [away]}) as server, Client(server.url, key="vfq_secret") as client:
            client.download("1", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"restored"
    assert server.keys == ["Bearer vfq_secret"]
    assert storage.keys == [None]


def test_a_storage_that_refuses_or_is_not_there_is_named(tmp_path: Path) -> None:
    gone = free_port()
    with fake_server({"GET /there": [Answer(403, b"<Error/>", "application/xml")]}) as storage:
        places = [storage.url, f"http://127.0.0.1:{gone}"]
        answers = [Answer(302, headers={"Location": f"{place}/there"}) for place in places]
        with (
            fake_server({"GET /v1/jobs/1/result": answers}) as server,
            Client(server.url, patience=0.3) as client,
        ):
            with pytest.raises(ServerProblem, match=rf"{storage.url}.* answered 403"):
                client.download("1", tmp_path / "out")
            with pytest.raises(ServerUnreachable, match=rf"127.0.0.1:{gone}.* nothing answers there"):
                client.download("1", tmp_path / "out")


def test_an_id_cannot_leave_its_place_in_the_address() -> None:
    with fake_server({}) as server, Client(server.url) as client, pytest.raises(ServerProblem):
        client.job("../version?x=1")
    assert server.asked == ["GET /v1/jobs/..%2Fversion%3Fx%3D1"]
