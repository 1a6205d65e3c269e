import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from tests.cli.archive.fake_jobs import FakeJobs, fake_jobs, lines_of
from tests.cli.fake_server import Answer, problem
from tests.cli.programs import run, start, until

Archive = Callable[..., Result]
MANIFEST = ".voicefixer-archive.jsonl"
DEATH = Answer(0)


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_tree_is_mirrored_and_every_file_has_its_line(
    archive: Archive, source: Path, target: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    with fake_jobs() as server:
        done = archive(server.url, "--report", str(tmp_path / "r.jsonl"), "--mode", "1", "--format", "flac")
    assert done.exit_code == 0, done.output
    assert {name: (target / name).read_bytes() for name in ("a.flac", "sub/b.flac", "sub/c.flac")} == {
        "a.flac": b"restored sound of a.wav",
        "sub/b.flac": b"restored sound of sub/b.mp3",
        "sub/c.flac": b"restored sound of sub/c.wav",
    }
    assert server.fields == {"mode": "1", "priority": "bulk", "output.format": "flac"}
    lines = lines_of((tmp_path / "r.jsonl").read_text())
    assert lines == lines_of(done.stdout)
    assert {path: line["status"] for path, line in lines.items()} == {
        "a.wav": "restored",
        "notes.txt": "skipped",
        "sub/b.mp3": "restored",
        "sub/c.wav": "restored",
    }
    a = lines["a.wav"]
    assert (a["output"], a["models"][0]["model_type"], a["attempt"]) == ("a.flac", "SpectralGateRestorer", 1)
    assert len(a["sha256_in"]) == len(a["sha256_out"]) == 64
    assert json.loads(done.stdout.splitlines()[-1])["summary"] == {
        "restored": 3, "unchanged": 0, "failed": 0, "skipped": 1, "needs_review": 0, "bytes": 50, "ending": "complete",
    }  # fmt: skip
    assert tree(target) == [MANIFEST, ".voicefixer-archive.lock", "a.flac", "sub/b.flac", "sub/c.flac"]
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before


def test_one_bad_file_stops_no_other_and_the_status_tells(archive: Archive) -> None:
    with fake_jobs(errors={"a.wav": ["audio_unreadable"]}) as server:
        done = archive(server.url)
    assert done.exit_code == 2
    lines = lines_of(done.stdout)
    assert lines["a.wav"]["error"] == {"code": "audio_unreadable", "message": "It is audio_unreadable."}
    assert [lines[path]["status"] for path in ("sub/b.mp3", "sub/c.wav")] == ["restored", "restored"]


def test_on_error_stop_begins_nothing_after_the_first(archive: Archive) -> None:
    with fake_jobs(errors={"a.wav": ["audio_unreadable"]}) as server:
        done = archive(server.url, "--on-error", "stop", "--jobs", "1")
        assert done.exit_code == 2
        assert "sub/c.wav" not in lines_of(done.stdout)
        again = archive(server.url, "--on-error", "stop", "--jobs", "1", "--resume")
    assert again.exit_code == 2  # the bad one is known by now, and stops nothing
    assert [line["status"] for line in lines_of(again.stdout).values()].count("failed") == 1
    assert sorted(server.put) == ["a.wav", "b.mp3", "c.wav"]


def test_a_second_run_does_nothing_again(archive: Archive) -> None:
    with fake_jobs() as server:
        archive(server.url)
        refused = archive(server.url)
        assert refused.exit_code == 1
        assert "--resume" in json.loads(refused.stdout)["error"]["message"]
        assert "--fresh" in json.loads(refused.stdout)["error"]["message"]
        asked = len(server.asked)
        again = archive(server.url, "--resume")
        assert again.exit_code == 0
        assert len(server.asked) == asked
        verified = archive(server.url, "--resume", "--verify")
    assert len(server.put) == 3
    for done in (again, verified):
        assert {line["status"] for line in lines_of(done.stdout).values()} == {"unchanged", "skipped"}


def test_a_file_that_exists_is_not_yet_done(archive: Archive, source: Path, target: Path) -> None:
    with fake_jobs() as server:
        archive(server.url)
        (target / "a.flac").write_bytes(b"restored sound of a.wax")  # as long as before
        os.utime(target / "a.flac", ns=(1, 1))
        (target / "sub/b.flac").unlink()
        (source / "sub/c.wav").write_bytes(b"a better take")
        done = archive(server.url, "--resume")
    lines = lines_of(done.stdout)
    assert [lines[path]["status"] for path in ("a.wav", "sub/b.mp3", "sub/c.wav")] == ["restored"] * 3
    assert (target / "a.flac").read_bytes() == b"restored sound of a.wav"
    assert (target / "sub/b.flac").exists()
    assert (target / "sub/c.flac").read_bytes() == b"restored a better take"
    # What was made is fetched again; only the new take had to be restored.
    assert server.put.count("c.wav") == 2
    assert len(server.put) == 4


def test_a_touched_recording_is_unchanged_and_verify_sees_what_time_hides(
    archive: Archive, source: Path, target: Path
) -> None:
    with fake_jobs() as server:
        archive(server.url)
        os.utime(source / "a.wav", ns=(5, 5))
        assert lines_of(archive(server.url, "--resume").stdout)["a.wav"]["status"] == "unchanged"
        facts = (target / "a.flac").stat()
        (target / "a.flac").write_bytes(b"damaged sound of a.wav!")
        os.utime(target / "a.flac", ns=(facts.st_atime_ns, facts.st_mtime_ns))
        assert lines_of(archive(server.url, "--resume").stdout)["a.wav"]["status"] == "unchanged"
        assert lines_of(archive(server.url, "--resume", "--verify").stdout)["a.wav"]["status"] == "restored"
    assert (target / "a.flac").read_bytes() == b"restored sound of a.wav"


def test_other_options_are_another_result(archive: Archive) -> None:
    with fake_jobs() as server:
        archive(server.url)
        done = archive(server.url, "--resume", "--mode", "1")
        assert len(server.put) == 6
        archive(server.url, "--resume", "--mode", "1", "--deadline", "60")  # shapes no result
    assert len(server.put) == 6
    assert done.exit_code == 0


def test_fresh_does_everything_again(archive: Archive) -> None:
    with fake_jobs() as server:
        archive(server.url)
        assert archive(server.url, "--fresh").exit_code == 0
        assert len(server.put) == 6
        archive(server.url, "--resume")
    assert len(server.put) == 6


def forget_lines(target: Path, count: int) -> None:
    """As if the run had been killed before its last lines, in the middle of one."""
    manifest = target / MANIFEST
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join(lines[:-count]) + lines[-count][:20])


def test_a_killed_run_finds_its_jobs_again(archive: Archive, target: Path) -> None:
    with fake_jobs() as server:
        archive(server.url, "--jobs", "1")
        forget_lines(target, 2)
        (target / "sub/c.flac").unlink()
        done = archive(server.url, "--resume")
    assert done.exit_code == 0, done.output
    assert len(server.put) == 3
    assert {path: line["status"] for path, line in lines_of(done.stdout).items() if path != "notes.txt"} == {
        "a.wav": "unchanged",
        "sub/b.mp3": "restored",
        "sub/c.wav": "restored",
    }


@pytest.mark.parametrize(
    ("code", "again"),
    [("chunk_failed", True), ("job_canceled", True), ("job_expired", True), ("audio_unreadable", False)],
)
@pytest.mark.parametrize("written", [True, False])
def test_what_may_pass_is_tried_again(archive: Archive, target: Path, code: str, again: bool, written: bool) -> None:
    with fake_jobs(errors={"c.wav": [code, ""]}) as server:
        assert archive(server.url, "--jobs", "1").exit_code == 2
        if not written:
            forget_lines(target, 1)
        done = archive(server.url, "--resume")
    line = lines_of(done.stdout)["sub/c.wav"]
    assert done.exit_code == (0 if again else 2)
    assert (line["status"], line["attempt"]) == (("restored", 2) if again else ("failed", 1))
    assert server.put.count("c.wav") == (2 if again else 1)


def test_a_result_that_the_server_has_deleted_is_made_again(archive: Archive, target: Path) -> None:
    with fake_jobs() as server:
        archive(server.url)
        server.results.clear()
        (target / "a.flac").unlink()
        done = archive(server.url, "--resume")
    assert lines_of(done.stdout)["a.wav"]["attempt"] == 2
    assert (target / "a.flac").exists()


def test_restarts_and_refusals_that_pass_are_outlasted(archive: Archive) -> None:
    first = {
        "PUT": [DEATH, problem(429, "too_many_jobs", "Full."), problem(503, "queue_full", "Full."), DEATH],
        "GET": [problem(429, "rate_exceeded", "Slow."), Answer(502, b"<html>", "text/html")],
    }
    with fake_jobs(first=first) as server:
        done = archive(server.url)
    assert done.exit_code == 0, done.output
    assert len(server.jobs) == 3


def test_a_job_whose_answer_was_lost_is_not_made_twice(archive: Archive) -> None:
    lost = []
    with fake_jobs() as server:
        answer = server.answer

        def losing(method: str, path: str, *rest: object) -> Answer:
            given = answer(method, path, *rest)
            if method == "PUT" and len(lost) < 3:
                lost.append(path)
                return DEATH
            return given

        server.answer = losing  # type: ignore[method-assign]
        done = archive(server.url)
    assert done.exit_code == 0, done.output
    assert len(lost) == len(server.put) == 3


def test_a_result_that_breaks_off_is_fetched_whole(archive: Archive, target: Path) -> None:
    whole = b"restored sound of a.wav"
    broken = [Answer(200, whole[:5], "audio/flac", promised=len(whole))]
    with fake_jobs() as server:
        answer = server.answer

        def breaking(method: str, path: str, *rest: object) -> Answer:
            return broken.pop() if path.endswith("/result") and broken else answer(method, path, *rest)

        server.answer = breaking  # type: ignore[method-assign]
        assert archive(server.url).exit_code == 0
    assert (target / "a.flac").read_bytes() == whole


def test_results_are_fetched_where_they_lie_and_what_arrived_is_kept(archive: Archive, target: Path) -> None:
    whole = b"restored sound of a.wav"
    ranges = []
    with fake_jobs(elsewhere=True) as server:
        stored = server._stored

        def breaking(number: str, headers: dict[str, str]) -> Answer:
            answer = stored(number, headers)
            ranges.append(headers.get("Range"))
            return replace(answer, body=answer.body[:9], promised=len(whole)) if len(ranges) == 1 else answer

        server._stored = breaking  # type: ignore[method-assign,assignment]
        assert archive(server.url, "--jobs", "1").exit_code == 0
        assert (target / "a.flac").read_bytes() == whole
        assert ranges[:2] == [None, "bytes=9-"]
        (target / "a.flac").unlink()
        server.results.clear()  # the storage answers then, in a language of its own
        again = archive(server.url, "--resume")
    assert lines_of(again.stdout)["a.wav"]["attempt"] == 2
    assert (target / "a.flac").read_bytes() == whole


def test_a_server_that_stays_away_ends_the_run_which_can_go_on(archive: Archive) -> None:
    with fake_jobs(first={"PUT": [problem(503, "storage_unavailable", "Storage is away.")] * 50}) as server:
        done = archive(server.url, "--patience", "0.3", "--jobs", "1")
        assert done.exit_code == 1
        assert json.loads(done.stdout.splitlines()[-1])["error"]["message"].startswith("Storage is away.")
        server.first.clear()
        assert archive(server.url, "--resume").exit_code == 0
    assert sorted(server.put) == ["a.wav", "b.mp3", "c.wav"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (problem(401, "key_missing", "A key is needed."), "key_missing"),
        (problem(404, "not_found", "Nothing here."), "not_found"),
        (Answer(404, b"<html>", "text/html"), "not_our_server"),
    ],
)
def test_what_no_file_will_change_ends_the_run(archive: Archive, answer: Answer, code: str) -> None:
    with fake_jobs(first={"PUT": [answer] * 9}) as server:
        done = archive(server.url)
    assert done.exit_code == 1
    assert json.loads(done.stdout.splitlines()[-1])["error"]["code"] == code


def test_a_refusal_of_one_file_concerns_that_file(archive: Archive) -> None:
    bug = [problem(500, "internal_error", "Our fault.")] * 5
    with fake_jobs(first={"PUT": [problem(413, "upload_too_large", "Too large.")], "GET": []}) as server:
        done = archive(server.url, "--jobs", "1")
        server.first = {"GET": list(bug)}
        again = archive(server.url, "--jobs", "1", "--resume")
    assert lines_of(done.stdout)["a.wav"]["error"]["code"] == "upload_too_large"
    assert (done.exit_code, again.exit_code) == (2, 2)
    assert lines_of(again.stdout)["a.wav"]["error"]["code"] == "internal_error"


def test_a_result_that_is_not_what_the_job_says_is_not_kept(archive: Archive, target: Path) -> None:
    with fake_jobs() as server:
        take = server._take

        def lying(*arguments: object) -> dict[str, object]:
            job = take(*arguments)  # type: ignore[arg-type]
            if server.put[-1] == "b.mp3":
                job["output"]["bytes"] += 1
            if server.put[-1] == "c.wav":
                job["receipt"] = {"result": {"sha256": "0" * 64}}
            return job

        server._take = lying  # type: ignore[method-assign,assignment]
        done = archive(server.url)
    lines = lines_of(done.stdout)
    assert {lines[path]["error"]["code"] for path in ("sub/b.mp3", "sub/c.wav")} == {"result_damaged"}
    assert tree(target) == [MANIFEST, ".voicefixer-archive.lock", "a.flac"]


def test_receipts_lie_beside_the_results_if_asked_for(archive: Archive, target: Path) -> None:
    with fake_jobs(receipts=True) as server:
        archive(server.url, "--receipts")
    assert json.loads((target / "sub/b.flac.receipt.json").read_text())["job_id"] in server.jobs


def test_a_server_without_receipts_is_no_error(archive: Archive) -> None:
    with fake_jobs() as server:
        assert archive(server.url, "--receipts").exit_code == 0


def test_what_lies_in_the_target_is_not_lost(archive: Archive, target: Path) -> None:
    target.mkdir()
    (target / "a.flac").write_bytes(b"somebody's own")
    with fake_jobs() as server:
        done = archive(server.url)
    assert done.exit_code == 2
    assert lines_of(done.stdout)["a.wav"]["error"]["code"] == "output_exists"
    assert (target / "a.flac").read_bytes() == b"somebody's own"


def test_a_dry_run_touches_nothing(archive: Archive, target: Path) -> None:
    done = archive("http://127.0.0.1:1", "--dry-run")
    assert done.exit_code == 0
    assert {path: line.get("output", line.get("reason")) for path, line in lines_of(done.stdout).items()} == {
        "a.wav": "a.wav",
        "notes.txt": "not_audio",
        "sub/b.mp3": "sub/b.flac",
        "sub/c.wav": "sub/c.wav",
    }
    assert not target.exists()
    with fake_jobs() as server:
        archive(server.url)
        before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
        again = archive(None, "--dry-run", "--resume")
    assert {line["would"] for line in lines_of(again.stdout).values()} == {"unchanged", "skip"}
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--resume", "--fresh"), "choose one"),
        (("--models", "baseline"), "--models is for a stack"),
        (("--format", "tape"), "--format"),
        (("--report", "IN/report.jsonl"), "among the recordings"),
        (("--report", "IN/a.wav"), "among the recordings"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_begins(
    archive: Archive, source: Path, target: Path, more: tuple[str, ...], said: str
) -> None:
    done = archive("http://127.0.0.1:1", *(word.replace("IN", str(source)) for word in more))
    assert done.exit_code == 2
    assert said in json.loads(done.stdout)["error"]["message"]
    assert not target.exists()


def begun(server: FakeJobs, source: Path, target: Path) -> list[str]:
    return ["archive", str(source), str(target), "-r", "--server", server.url, "--json"]


def test_two_runs_on_one_target_are_refused_and_ctrl_c_lets_what_is_in_hand_end(source: Path, target: Path) -> None:
    with fake_jobs(never={"a.wav"}) as server:
        first = start(*begun(server, source, target), "--jobs", "1")
        assert until(lambda: server.put)
        second = run(*begun(server, source, target), "--resume")
        assert second.returncode == 1
        assert f"(process {first.pid})" in second.stderr
        first.send_signal(signal.SIGINT)
        job = next(iter(server.jobs.values()))
        job |= {"status": "succeeded", "output": {"filename": "a.flac", "bytes": len(server.results[job["id"]])}}
        stdout, _ = first.communicate(timeout=20)
        assert first.returncode == 1
        assert lines_of(stdout)["a.wav"]["status"] == "restored"
        assert json.loads(stdout.splitlines()[-1])["error"]["code"] == "interrupted"
        assert len(server.put) < 3
        assert run(*begun(server, source, target), "--resume").returncode == 0
    assert len(server.put) == 3


def test_a_second_ctrl_c_stops_at_once_and_the_job_is_found_again(source: Path, target: Path) -> None:
    with fake_jobs(never={"a.wav", "b.mp3", "c.wav"}) as server:
        process = start(*begun(server, source, target))
        assert until(lambda: len(server.put) == 3)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)  # two of one moment are one
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 1
        process.communicate()
        assert not any(one.endswith("/cancel") for one in server.asked)
        for job in server.jobs.values():
            size = len(server.results[job["id"]])
            job |= {"status": "succeeded", "output": {"filename": "a.flac", "bytes": size}}
        assert run(*begun(server, source, target), "--resume").returncode == 0
    assert len(server.put) == 3
