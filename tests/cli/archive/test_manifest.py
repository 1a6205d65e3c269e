from pathlib import Path

import pytest

from cli.archive.attempts import job_name
from cli.archive.errors import ArchiveError
from cli.archive.lock import locked
from cli.archive.manifest import NAME, Entry, Manifest, Stamp

STAMP = Stamp(5, 7, "ab")


def entry(path: str, output: str | None = None, **facts: object) -> Entry:
    return Entry(path, "restored" if output else "failed", "digest", STAMP, output=output, **facts)  # type: ignore[arg-type]


def begun(folder: Path, *, fresh: bool = False) -> Manifest:
    manifest = Manifest(folder / NAME)
    manifest.begin(folder, fresh=fresh)
    return manifest


def test_what_was_written_is_read_again_whatever_the_name(tmp_path: Path) -> None:
    first = begun(tmp_path)
    entries = [entry("two\nlines \udcff.wav", "x.flac", result=Stamp(1, 2, "cd")), entry("b", error={"code": "c"})]
    for one in entries:
        first.append(one)
    first.close()
    again = begun(tmp_path)
    assert again.resumed
    assert (again.id, [again.last(one.path) for one in entries]) == (first.id, entries)
    assert again.last("c") is None


def test_the_last_line_of_a_file_counts_and_a_torn_one_does_not(tmp_path: Path) -> None:
    first = begun(tmp_path)
    for attempt in (1, 2, 3):
        first.append(entry("a", attempt=attempt))
    first.close()
    data = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(data[:-10])
    again = begun(tmp_path)
    last = again.last("a")
    assert last is not None
    assert (last.attempt, again.damaged) == (2, 1)
    again.append(entry("a", attempt=4))
    again.close()
    third = begun(tmp_path)
    last = third.last("a")
    assert last is not None
    assert last.attempt == 4


def test_lines_that_are_damaged_take_no_other_with_them(tmp_path: Path) -> None:
    first = begun(tmp_path)
    first.append(entry("a"))
    first.close()
    with (tmp_path / NAME).open("ab") as file:
        file.write(b'\x00\xff garbage\n{"event": "file", "path": 3}\n[1]\n{"event": "of a later version"}\n')
    again = begun(tmp_path)
    assert again.last("a") is not None
    assert again.damaged == 2


def test_a_fresh_archive_has_other_jobs_and_knows_whose_the_results_are(tmp_path: Path) -> None:
    first = begun(tmp_path)
    first.append(entry("a", "a.flac", result=STAMP))
    first.close()
    second = begun(tmp_path, fresh=True)
    assert second.id != first.id
    assert not second.resumed
    assert second.last("a") is None
    assert second.owns("a.flac", "a")
    assert not second.owns("a.flac", "b")
    assert not second.owns("b.flac", "a")
    second.close()
    third = Manifest(tmp_path / NAME, read_only=True)
    assert (third.id, third.last("a"), third.owns("a.flac", "a")) == (second.id, None, True)


def test_a_manifest_of_another_version_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"event": "archive", "version": 99, "id": "x"}\n')
    with pytest.raises(ArchiveError, match="another version"):
        Manifest(tmp_path / NAME)


def test_a_job_has_one_name_for_one_attempt_and_the_api_takes_it() -> None:
    name = job_name("id", "a\udcff", "sha", "digest", 1)
    assert name == job_name("id", "a\udcff", "sha", "digest", 1)
    others = [
        job_name("ie", "a\udcff", "sha", "digest", 1),
        job_name("id", "b", "sha", "digest", 1),
        job_name("id", "a\udcff", "shb", "digest", 1),
        job_name("id", "a\udcff", "sha", "digesu", 1),
        job_name("id", "a\udcff", "sha", "digest", 2),
    ]
    assert len({name, *others}) == 6
    assert len(name) <= 128
    assert name.replace("-", "").isalnum()


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "out"),
        pytest.raises(ArchiveError, match="Another run is at work"),
        locked(tmp_path / "out"),
    ):
        pass
    with locked(tmp_path / "out"):
        pass
