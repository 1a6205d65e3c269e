import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from cli import supervisor as supervising
from cli.errors import StackError
from cli.processes import Process, Program, tail
from cli.supervisor import Supervisor
from tests.cli.programs import ROOT, alive, until


def python(name: str, code: str, log: Path | None = None, **options: object) -> Program:
    return Program(name, (sys.executable, "-c", textwrap.dedent(code)), log=log, **options)  # type: ignore[arg-type]


def test_a_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = """
        import sys, time
        from cli.processes import Process, Program
        child = Process(Program("sleeper", ("sleep", "600")))
        print(child.pid, flush=True)
        time.sleep(600)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(parent)], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))
    assert until(lambda: child.name() == "sleep")
    process.kill()
    process.wait()
    process.stdout.close()
    assert until(lambda: not alive([child]))


def test_a_child_has_its_own_group_so_that_ctrl_c_reaches_the_parent_alone(tmp_path: Path) -> None:
    child = Process(Program("sleeper", ("sleep", "600"), log=tmp_path / "log"))
    try:
        assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
    finally:
        child.kill()


def test_a_child_gets_its_environment_and_its_input_and_writes_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import os, sys; print(os.environ['VFQ_SAMPLE'], sys.stdin.read())"
    child = Process(python("echo", code, log, environment={"VFQ_SAMPLE": "one"}, stdin=b"two"))
    assert child.wait(10)
    child.kill()
    assert log.read_text() == "one two\n"


def test_killing_a_child_ends_what_it_started(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    child = Process(python("nest", code, log))
    assert until(lambda: log.read_text().endswith("\n"))
    grandchild = psutil.Process(int(log.read_text()))
    child.kill()
    assert until(lambda: not alive([grandchild]))


def test_how_a_child_ended_is_said_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = Process(python("api", "import sys; print('port is taken'); sys.exit(3)", log))
    assert child.wait(10)
    assert child.status() == 3
    assert "api ended (exit status 3)" in child.ending()
    assert "| port is taken" in child.ending()
    child.kill()
    assert child.status() == 3


def test_a_program_that_is_not_there_ends_with_a_sentence(tmp_path: Path) -> None:
    child = Process(Program("ghost", ("/nowhere/at-all",), log=tmp_path / "log"))
    assert child.wait(10)
    child.kill()
    assert "/nowhere/at-all cannot be run: No such file or directory" in child.ending()


def test_the_end_of_a_long_log_is_read_without_the_rest(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert tail(log, 2) == ["line 9998", "line 9999"]
    assert tail(tmp_path / "none") == []


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "_LONGEST_PAUSE", 0.05)


def test_a_child_that_dies_is_started_again(tmp_path: Path, hasty: None) -> None:
    said: list[str] = []
    keeper = Supervisor(said.append)
    keeper.start(Program("sleeper", ("sleep", "600"), log=tmp_path / "log"))
    first = keeper.pids()["sleeper"]
    os.kill(first, signal.SIGKILL)
    try:
        assert until(lambda: keeper.tend() or keeper.pids()["sleeper"] != first)
        keeper.check()
    finally:
        keeper.kill()
    assert "sleeper ended (signal SIGKILL)" in said[0]


def test_a_child_that_dies_again_and_again_ends_the_stack_with_its_reason(tmp_path: Path, hasty: None) -> None:
    said: list[str] = []
    keeper = Supervisor(said.append)
    keeper.start(python("worker", "import sys; sys.exit('no models here')", tmp_path / "log"))
    with pytest.raises(StackError, match="no models here") as caught:
        until(lambda: keeper.tend(), 30)
    keeper.kill()
    assert "died 5 times" in caught.value.message
    assert len(said) == 4


def test_draining_lets_a_child_finish_what_is_in_hand(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = """
        import signal, sys, time
        def finish(*_):
            time.sleep(0.5)
            print("finished", flush=True)
            sys.exit()
        signal.signal(signal.SIGTERM, finish)
        print("working", flush=True)
        time.sleep(600)
    """
    keeper = Supervisor(print)
    keeper.start(python("worker", code, log))
    assert until(lambda: log.read_text() == "working\n")
    keeper.drain(["worker"], 20.0, lambda: False)
    assert log.read_text() == "working\nfinished\n"
    assert keeper.pids() == {}


def test_insisting_ends_a_child_that_does_not_finish(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("working", flush=True)
        time.sleep(600)
    """
    said: list[str] = []
    keeper = Supervisor(said.append)
    keeper.start(python("worker", code, log))
    assert until(lambda: log.read_text() == "working\n")
    child = psutil.Process(keeper.pids()["worker"])
    keeper.drain(["worker"], 600.0, lambda: True)
    assert not alive([child])
    assert said == ["worker is stopped in the middle of its work."]
