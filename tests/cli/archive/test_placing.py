import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.archive.errors import ArchiveError, FileTrouble, writing_failed
from cli.archive.manifest import NAME, Manifest
from cli.archive.placing import Shelf
from cli.archive.recording import digest_of, opened


def nothing() -> None:
    pass


@pytest.fixture
def shelf(tmp_path: Path) -> Callable[..., Shelf]:
    def make(source: str = "in", target: str = "out") -> Shelf:
        for name in (source, target):
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
        return Shelf(tmp_path / source, tmp_path / target, Manifest(tmp_path / target / NAME))

    return make


def put(shelf: Shelf, stem: str, data: bytes = b"result") -> None:
    with shelf.part(stem, f"{stem}.wav") as part:
        part.write_bytes(data)
        shelf.place(part, f"{stem}.flac", f"{stem}.wav", digest_of(part), nothing)


def test_a_result_takes_its_place_and_leaves_nothing_beside_it(shelf: Callable[..., Shelf]) -> None:
    it = shelf()
    put(it, "deep/er/a")
    assert [path.name for path in it.target.rglob("*") if path.is_file()] == ["a.flac"]


def test_the_very_result_may_lie_there_after_a_death_and_nothing_else(shelf: Callable[..., Shelf]) -> None:
    it = shelf()
    put(it, "a")
    put(it, "a")
    with pytest.raises(FileTrouble) as caught:
        put(it, "a", b"another")
    assert caught.value.code == "output_exists"
    assert (it.target / "a.flac").read_bytes() == b"result"
    assert len(list(it.target.iterdir())) == 1


def test_a_recordings_folder_in_the_target_is_not_written_into(shelf: Callable[..., Shelf], tmp_path: Path) -> None:
    it = shelf("out/in", "out")
    (tmp_path / "out/in/in").mkdir()
    put(it, "a")
    for stem in ("in/b", "in/in/b"):
        with pytest.raises(FileTrouble) as caught:
            put(it, stem)
        assert caught.value.code == "output_outside"
    assert list((tmp_path / "out/in").iterdir()) == [tmp_path / "out/in/in"]


def test_a_link_in_the_target_does_not_lead_out_of_it(shelf: Callable[..., Shelf], tmp_path: Path) -> None:
    it = shelf()
    (it.target / "sub").symlink_to(tmp_path / "in")
    with pytest.raises(FileTrouble) as caught:
        put(it, "sub/a")
    assert caught.value.code == "output_outside"
    assert list((tmp_path / "in").iterdir()) == []


def test_a_file_where_a_folder_is_needed_spoils_one_file(shelf: Callable[..., Shelf]) -> None:
    it = shelf()
    (it.target / "sub").write_bytes(b"somebody's own")
    with pytest.raises(FileTrouble) as caught:
        put(it, "sub/a")
    assert caught.value.code == "output_unwritable"


def test_a_full_disk_ends_the_run_and_a_name_that_cannot_be_does_not() -> None:
    assert isinstance(writing_failed(OSError(errno.ENOSPC, "No space left on device"), "x"), ArchiveError)
    assert isinstance(writing_failed(OSError(errno.ENAMETOOLONG, "File name too long"), "x"), FileTrouble)


def test_a_recording_that_is_written_to_meanwhile_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"first half")
    with opened(path, nothing) as recording:
        recording.sender(lambda *_: None)
        with path.open("ab") as file:
            file.write(b" and second")
        with pytest.raises(FileTrouble) as caught:
            recording.check()
    assert caught.value.code == "source_changed"


def test_a_recording_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.wav", tmp_path):
        with pytest.raises(FileTrouble, match=r"cannot be read|no file") as caught, opened(path, nothing):
            pass
        assert caught.value.code == "source_unreadable"
