"""The command with a stack of its own: killed, it takes the stack along, and both are found again."""

import json
import time
from pathlib import Path

import pytest

from cli import local
from cli.archive.manifest import NAME, STACK_FOLDER
from tests.cli.archive.fake_jobs import lines_of
from tests.cli.programs import alive, descendants, run, start, until
from tests.support import recordings

FILES = 5
LENGTH = 10 * 44_100  # samples: the five take seconds, so that the kill finds them on their way


def test_jobs_go_on_after_the_command_and_its_stack_were_killed(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for number in range(FILES):
        (source / f"take {number}.wav").write_bytes(recordings.encoded(recordings.tone(LENGTH + number, seed=number)))
    command = ("archive", str(source), str(target), "--models", "baseline", "--receipts", "--json")

    process = start(*command)
    objects = target / STACK_FOLDER / "objects" / "jobs"
    assert until(lambda: objects.is_dir() and len(list(objects.glob("*/manifest.json"))) == FILES, 60)
    sent = {path.name for path in objects.iterdir()}
    time.sleep(0.5)  # a manifest is written before its job is there
    stack = descendants(process)
    process.kill()
    process.communicate()
    assert until(lambda: not alive(stack))
    done_before = (target / NAME).read_bytes().count(b'"restored"')

    done = run(*command, "--resume")
    assert done.returncode == 0, done.stderr
    lines = lines_of(done.stdout)
    assert {line["status"] for line in lines.values()} <= {"restored", "unchanged"}
    assert sum(line["status"] == "unchanged" for line in lines.values()) == done_before
    assert {line["attempt"] for line in lines.values()} == {1}
    # Those that were on their way are the same jobs; what was done already has left the stack.
    assert {line["job_id"] for line in lines.values() if line["status"] == "restored"} <= sent
    assert sorted(path.name for path in target.glob("*.wav")) == [f"take {number}.wav" for number in range(FILES)]
    for line in lines.values():
        receipt = json.loads((target / f"{line['output']}.receipt.json").read_text())
        assert (receipt["source"]["sha256"], receipt["result"]["sha256"]) == (line["sha256_in"], line["sha256_out"])
        assert receipt["check"]["needs_review"] is line["needs_review"]
    assert not (target / STACK_FOLDER).exists()


def test_what_a_killed_stack_has_told_is_not_taken_for_the_word_of_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Starting:
        pid = 2
        looks = 0

        def status(self) -> int | None:
            self.looks += 1
            if self.looks == 3:
                (tmp_path / "lock").write_text(json.dumps({"pid": 2, "url": "http://new"}))
            return None

    monkeypatch.setattr(local, "_POLL_SECONDS", 0.0)
    (tmp_path / "lock").write_text(json.dumps({"pid": 1, "url": "http://old"}))
    assert local._wait(Starting(), tmp_path) == "http://new"  # type: ignore[arg-type]
