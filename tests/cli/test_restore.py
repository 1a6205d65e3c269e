from pathlib import Path
from typing import Any

import pytest

from tests.cli.fake_server import Answer, document, fake_server, problem
from tests.cli.programs import documents, run

ALIVE = {"GET /healthz": [document({"status": "ok"})]}
MODELS = [{"stage": "restore", "model_type": "SpectralGateRestorer", "weights": None}]


def job(status: str, percent: float = 0.0, **more: Any) -> dict[str, Any]:
    return {"id": "7", "status": status, "progress": {"percent": percent, "stage": "restore"}, **more}


DONE = job("succeeded", 100.0, models=MODELS, output={"filename": "talk-restored.flac"})


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    path = tmp_path / "talk.m4a"
    path.write_bytes(b"sound")
    return path


def test_a_file_is_sent_watched_and_fetched(talk: Path) -> None:
    answers = {
        "POST /v1/jobs": [document(job("queued"), 202)],
        "GET /v1/jobs/7": [document(job("processing", 40.0)), document(DONE)],
        "GET /v1/jobs/7/result": [Answer(200, b"better", "audio/flac")],
    }
    with fake_server(ALIVE | answers) as server:
        done = run("restore", str(talk), "--server", server.url, "--mode", "1", "--json")
    assert done.returncode == 0, done.stderr
    result = talk.with_name("talk-restored.flac")
    assert result.read_bytes() == b"better"
    assert documents(done.stdout) == [
        {
            "input": str(talk),
            "job_id": "7",
            "status": "succeeded",
            "output": str(result),
            "models": MODELS,
            "needs_review": False,
            "receipt": None,
            "error": None,
        }
    ]
    assert "talk.m4a: restore 40%" in done.stderr
    assert "1 of 1 restored by SpectralGateRestorer." in done.stderr
    assert b'name="mode"\r\n\r\n1' in server.bodies[1]


def test_a_result_that_needs_review_is_told(talk: Path) -> None:
    check = {"needs_review": True, "reasons": [{"code": "silence", "detail": "The result is silent."}]}
    doubtful = {**DONE, "output": {"filename": "talk-restored.flac", "needs_review": True}, "receipt": {"check": check}}
    answers = {
        "POST /v1/jobs": [document(job("queued"), 202)],
        "GET /v1/jobs/7": [document(doubtful)],
        "GET /v1/jobs/7/result": [Answer(200, b"worse", "audio/flac")],
    }
    with fake_server(ALIVE | answers) as server:
        done = run("restore", str(talk), "--server", server.url, "--json")
        shown = run("status", "7", "--server", server.url)
    assert done.returncode == 0, done.stderr
    assert "(needs review: The result is silent.)" in done.stderr
    assert "Listen to 1 of them, which may have gone wrong: talk.m4a." in done.stderr
    (line,) = documents(done.stdout)
    assert (line["needs_review"], line["receipt"]) == (True, {"check": check})
    assert "7  succeeded  needs review" in shown.stdout


def test_one_bad_file_stops_no_other_and_the_exit_code_tells(talk: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.m4a"
    other.write_bytes(b"noise")
    answers = {
        "POST /v1/jobs": [problem(415, "unsupported", "This is no audio."), document(DONE, 202)],
        "GET /v1/jobs/7/result": [Answer(200, b"better", "audio/flac")],
    }
    with fake_server(ALIVE | answers) as server:
        done = run("restore", str(talk), str(other), "-o", str(tmp_path / "new"), "--server", server.url, "--json")
    assert done.returncode == 3
    told = documents(done.stdout)
    assert sorted(line["status"] for line in told) == ["failed", "succeeded"]
    bad = next(line for line in told if line["status"] == "failed")
    assert bad["error"] == {"code": "unsupported", "message": "This is no audio."}
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_a_job_that_fails_says_why(talk: Path) -> None:
    failed = job("failed", error={"code": "audio_unreadable", "message": "No decoder knows this file."})
    with fake_server(ALIVE | {"POST /v1/jobs": [document(failed, 202)]}) as server:
        done = run("restore", str(talk), "--server", server.url)
    assert done.returncode == 3
    assert "talk.m4a: No decoder knows this file." in done.stderr
    assert done.stdout == ""


def test_an_existing_result_is_refused_before_anything_is_sent(talk: Path) -> None:
    talk.with_name("talk-restored.flac").write_bytes(b"older")
    with fake_server(ALIVE) as server:
        done = run("restore", str(talk), "--server", server.url, "--json")
    assert done.returncode == 2
    assert server.asked == []
    assert "exists already" in documents(done.stdout)[0]["error"]["message"]


def test_a_server_has_chosen_its_models(talk: Path) -> None:
    done = run("restore", str(talk), "--server", "http://127.0.0.1:1", "--models", "baseline")
    assert done.returncode == 2
    assert "--models is for a stack of this command's own" in done.stderr


def test_options_that_cannot_be_are_refused_before_anything_starts(talk: Path) -> None:
    done = run("restore", str(talk), "--mode", "3", "--json")  # no server is named: none is started either
    assert done.returncode == 2
    assert documents(done.stdout)[0]["error"] == {"code": "usage", "message": "--mode: input should be 0, 1 or 2"}


def test_options_that_can_be_are_sent_as_they_are(talk: Path, tmp_path: Path) -> None:
    with fake_server(ALIVE | {"POST /v1/jobs": [problem(422, "invalid_request", "Enough.")]}) as server:
        run(
            *("restore", str(talk), "--server", server.url, "--channels", "mono", "--sample-rate", "48000"),
            *("--metadata", '{"shelf": "A 12"}', "-o", str(tmp_path / "new.flac")),
        )
        body = server.bodies[-1]
    for name, value in (
        ("output.channels", "mono"),
        ("output.sample_rate", "48000"),
        ("metadata", '{"shelf": "A 12"}'),
        ("output.format", "flac"),
    ):
        assert f'name="{name}"\r\n\r\n{value}\r\n'.encode() in body


def test_a_missing_input_is_a_mistake_on_the_command_line(tmp_path: Path) -> None:
    assert run("restore", str(tmp_path / "ghost.wav")).returncode == 2
