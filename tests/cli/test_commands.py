import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from cli.errors import StackError
from cli.main import app
from cli.network import free_port, reachable_url, require_free
from tests.cli.fake_server import document, fake_server, problem
from tests.cli.programs import ROOT, documents, environment, run

JOB = {"id": "7", "status": "processing", "progress": {"percent": 41.9, "stage": "vocode"}, "input": {"filename": "a"}}


def message_of(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.splitlines()[-1].removeprefix("voicefixer-queue: ")


def test_help_loads_no_torch_and_no_server() -> None:
    code = (
        "import sys, cli.main\n"
        "try: cli.main.app(['--help'])\n"
        "except SystemExit: print(*sorted({'torch', 'flask', 'celery', 'httpx', 'numpy'} & set(sys.modules)), 'end')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment())
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "end"


@pytest.mark.parametrize("arguments", [("up",), ("api",), ("worker",), ("weights", "where")])
def test_a_wrong_setting_stops_a_command_with_one_sentence(arguments: tuple[str, ...]) -> None:
    done = run(*arguments, "--json", env=environment(VFQ_CORE_FRAMES="65"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("voicefixer-queue: VFQ_CORE_FRAMES must be a multiple of 64")
    assert documents(done.stdout)[-1]["error"]["code"] == "settings_error"


@pytest.mark.parametrize(
    "arguments",
    [("restore", "no-such-file.wav"), ("restore",), ("up", "--models", "best"), ("status", "7", "--pretty"), ("stop",)],
)
def test_a_wrong_command_line_is_told_to_scripts_too(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 2
    (told,) = documents(done.stdout)
    assert told["error"]["code"] == "usage"
    assert told["error"]["message"]
    assert "Usage" in done.stderr


def test_the_version_is_told() -> None:
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout == f"voicefixer-queue {version('voicefixer-queue')}\n"


def test_an_unknown_stage_is_refused() -> None:
    done = run("worker", "--stages", "audio,mix")
    assert done.returncode == 2
    assert "--stages takes audio, restore, vocode or all" in done.stderr


def test_status_cancel_and_list_give_what_the_server_says() -> None:
    answers = {
        "GET /v1/jobs/7": [document(JOB)],
        "POST /v1/jobs/7/retry": [document(JOB | {"id": "8", "status": "queued"}, 202)],
        "POST /v1/jobs/7/cancel": [document(JOB | {"status": "canceling"}, 202)],
        "GET /v1/jobs?limit=20": [document({"jobs": [JOB, JOB], "next": None})],
    }
    with fake_server(answers) as server:
        where = ("--server", server.url)
        assert documents(run("status", "7", "--json", *where).stdout) == [JOB]
        assert documents(run("retry", "7", "--json", *where).stdout)[0]["id"] == "8"
        assert documents(run("cancel", "7", "--json", *where).stdout)[0]["status"] == "canceling"
        assert documents(run("list", "--json", *where).stdout) == [JOB, JOB]
        assert run("status", "7", *where).stdout == "7  processing  vocode 42%  a\n"


def test_a_refusal_is_one_sentence_and_exit_code_1() -> None:
    over = problem(409, "job_over", "The job is over already.")
    with fake_server({"POST /v1/jobs/7/cancel": [over]}) as server:
        done = run("cancel", "7", "--json", "--server", server.url)
    assert done.returncode == 1
    assert documents(done.stdout) == [{"error": {"code": "job_over", "message": "The job is over already."}}]
    assert done.stderr == "voicefixer-queue: The job is over already.\n"


def test_a_port_that_is_taken_is_said_before_anything_starts() -> None:
    with fake_server({}) as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(StackError, match="--port"):
            require_free("127.0.0.1", port)
        done = run("api", "--port", str(port), "--json")
    assert done.returncode == 1
    assert documents(done.stdout) == [{"error": {"code": "stack_failed", "message": message_of(done)}}]
    assert "Address already in use" in message_of(done)
    require_free("127.0.0.1", free_port())


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_ours_is_said_so(host: str) -> None:
    with pytest.raises(StackError, match="--host"):
        require_free(host, 8000)


def test_an_address_for_all_is_reached_by_loopback() -> None:
    assert reachable_url("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert reachable_url("::", 80) == "http://[::1]:80"
