import errno
import os
from pathlib import Path

import pytest

from cli.archive.kinds import AUDIO, OTHER, stranger
from cli.archive.walk import Found, Walk
from tests.support import recordings
from worker.audio.sniff import sniff


def walk(source: Path, target: Path, **facts: bool) -> dict[str, Found]:
    return {one.path: one for one in Walk(source, target, **{"recursive": True, "mels": False, **facts})}


def test_the_order_is_stable_and_a_folder_goes_before_those_in_it(tmp_path: Path) -> None:
    for name in ("b/x.wav", "b/a/y.wav", "z.wav", "a.wav", "a/w.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"sound")
    assert list(walk(tmp_path, tmp_path / "out")) == ["a.wav", "z.wav", "a/w.wav", "b/x.wav", "b/a/y.wav"]
    flat = walk(tmp_path, tmp_path / "out", recursive=False)
    assert {path: one.skip for path, one in flat.items()} == {
        "a.wav": None, "z.wav": None, "a": "not_recursive", "b": "not_recursive",
    }  # fmt: skip


def test_the_target_in_the_source_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.wav").write_bytes(b"result")
    (tmp_path / "a.wav").write_bytes(b"sound")
    (tmp_path / "link.wav").symlink_to(tmp_path / "out" / "old.wav")
    found = walk(tmp_path, tmp_path / "out")
    assert {path: one.skip for path, one in found.items()} == {"a.wav": None, "link.wav": "own_file"}


def test_links_lead_to_files_and_never_round_in_circles(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "elsewhere.wav").write_bytes(b"sound")
    (tmp_path / "in" / "circle").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "good.wav").symlink_to(tmp_path / "elsewhere.wav")
    (tmp_path / "in" / "broken.wav").symlink_to("nowhere")
    (tmp_path / "in" / "broken.txt").symlink_to("nowhere")
    (tmp_path / "in" / "self.wav").symlink_to("self.wav")
    os.mkfifo(tmp_path / "in" / "pipe.wav")
    found = walk(tmp_path / "in", tmp_path / "out")
    assert found["good.wav"].wanted
    assert {path: one.skip for path, one in found.items() if one.skip} == {
        "circle": "link_to_folder", "broken.txt": "not_audio", "pipe.wav": "not_a_file",
    }  # fmt: skip
    assert {path: one.trouble[0] for path, one in found.items() if one.trouble} == {
        "broken.wav": "source_unreadable", "self.wav": "source_unreadable",
    }  # fmt: skip


def test_a_folder_that_cannot_be_read_is_an_error_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("closed/x.wav", "open/y.wav"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"sound")
    scandir = os.scandir

    def refusing(path: Path) -> object:  # permissions stop no test that runs as root
        if path.name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = walk(tmp_path, tmp_path / "out")
    assert found["closed"].trouble == ("folder_unreadable", "This folder cannot be read: Permission denied.")
    assert found["open/y.wav"].wanted


def test_names_of_any_bytes_are_walked(tmp_path: Path) -> None:
    names = [b"\xff\xfe.wav", b"two\nlines.wav", "ü".encode() * 120 + b".wav"]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"sound")
    assert {os.fsencode(path) for path, one in walk(tmp_path, tmp_path / "out").items() if one.wanted} == set(names)


def test_sound_without_a_telling_name_is_found_by_its_content(tmp_path: Path) -> None:
    sound = recordings.tone(2000)
    data = {
        "take": recordings.encoded(sound),
        "tape.001": recordings.encoded(sound, form="FLAC"),
        "memo.voice": recordings.m4a(sound),
        "mpeg.x": recordings.encoded(sound, form="MP3"),
        "ogg.x": recordings.encoded(sound, form="OGG"),
        "notes": "\ufefftalks of the spring".encode("utf-16"),
        "README": b"these are recordings\n" * 300,
        "data.x": bytes(range(256)) * 20,
        "nothing": b"",
    }
    for name, content in data.items():
        (tmp_path / name).write_bytes(content)
    found = walk(tmp_path, tmp_path / "out")
    assert [name for name, one in found.items() if one.wanted] == ["memo.voice", "mpeg.x", "ogg.x", "take", "tape.001"]
    for name in data:  # as the workers see it
        with (tmp_path / name).open("rb") as file:
            assert found[name].wanted == (sniff(file) is not None), name


def test_sidecars_are_skipped_and_a_recording_of_such_a_name_is_not() -> None:
    assert stranger("._talk.wav", lambda: b"\x00\x05\x16\x07") == "sidecar"
    assert stranger("._talk.wav", lambda: b"RIFF") is None
    assert stranger(".DS_Store", lambda: b"\x00\x00\x00\x01Bud1") == "not_audio"
    assert stranger("talk.wav", lambda: b"") is None  # its reason will be told
    assert stranger("talk.npy", lambda: b"", mels=True) is None
    assert stranger("talk.wav", lambda: b"", mels=True) == "not_a_mel"


def test_no_extension_is_both() -> None:
    assert not AUDIO & OTHER
