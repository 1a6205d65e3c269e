"""What a folder alone can get wrong: links, races, killed writers, full and missing disks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import (
    InvalidKey,
    ObjectMissing,
    SettingsError,
    StorageDenied,
    StorageError,
    StorageUnavailable,
)
from shared.storage import ObjectStore, open_storage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def folder(root: Path) -> ObjectStore:
    return open_storage(f"file://{root}")


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_objects_are_plain_files_under_their_keys(folder, root):
    folder.put("jobs/1/result.wav", b"data")

    assert (root / "jobs/1/result.wav").read_bytes() == b"data"
    assert files(root) == ["jobs", "jobs/1", "jobs/1/result.wav"]


def test_a_folder_with_odd_characters_is_given_percent_encoded(tmp_path):
    open_storage(f"file://{tmp_path}/my%20audio%231").put("a", b"x")

    assert (tmp_path / "my audio#1" / "a").read_bytes() == b"x"


def test_files_have_no_urls(folder):
    folder.put("a", b"x")

    assert folder.presign_get("a", expires=60, filename="a.wav") is None
    assert folder.presign_put("a", expires=60) is None


def test_links_that_lead_out_are_not_followed(folder, root, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("do not read")
    (root / "out").symlink_to(secret)
    (root / "file").symlink_to(secret / "key")
    (root / "loop").symlink_to(root / "loop")

    for key in ("out/key", "file", "loop"):
        for ask in (folder.read, folder.stream, folder.open, folder.head, folder.writer, folder.delete):
            with pytest.raises(InvalidKey, match="symbolic link"):
                ask(key)
    for name in ("out", "out/"):
        with pytest.raises(InvalidKey):
            folder.delete_prefix(name)
    assert [info.key for info in folder.list()] == []
    assert (secret / "key").read_text() == "do not read"


def test_a_folder_that_is_itself_behind_a_link_is_used(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")

    open_storage(f"file://{tmp_path}/link/store").put("a", b"x")

    assert (tmp_path / "disk/store/a").read_bytes() == b"x"


@pytest.mark.parametrize(("first", "second"), [("a", "a/b"), ("a", "a/b/c"), ("a/b", "a"), ("a/b/c", "a/b")])
def test_a_key_under_another_is_refused_with_both_in_mind(folder, first, second):
    folder.put(first, b"first")

    with pytest.raises(StorageError, match="one under the other"):
        folder.put(second, b"second")
    with pytest.raises(ObjectMissing):
        folder.read(second)
    folder.delete(second)
    assert [info.key for info in folder.list()] == [first]


def test_a_part_too_long_for_the_file_system_is_the_keys_fault(folder):
    with pytest.raises(InvalidKey, match="too long"):
        folder.put("x" * 300, b"x")


def test_empty_folders_go_with_their_last_object(folder, root):
    folder.put("jobs/1/a/b", b"x")
    folder.put("jobs/2", b"x")

    folder.delete("jobs/1/a/b")
    assert files(root) == ["jobs", "jobs/2"]
    folder.delete_prefix("jobs")
    assert root.is_dir()
    assert files(root) == []


def test_an_aborted_writer_leaves_neither_file_nor_folder(folder, root):
    with folder.writer("jobs/1/a") as out:
        out.write(b"x")
        assert len(files(root)) == 3

    assert files(root) == []


KILLED = """
import os, sys
from shared.storage import open_storage
out = open_storage(sys.argv[1]).writer("jobs/1/result")
out.write(bytes(3_000_000))
os._exit(9)
"""


def test_a_killed_writer_shows_nothing_and_is_swept_later(folder, root):
    done = subprocess.run([sys.executable, "-c", KILLED, f"file://{root}"], check=False)

    assert done.returncode == 9
    assert list(folder.list()) == []
    [left] = [path for path in root.rglob("*") if path.is_file()]
    assert folder.sweep(timedelta(days=1)) == 0
    os.utime(left, (0, 0))
    assert folder.sweep(timedelta(days=1)) == 1
    assert files(root) == []


def test_writing_survives_deletions_of_the_same_folder_all_the_while(folder):
    stop = threading.Event()

    def delete() -> int:
        count = 0
        while not stop.is_set():
            count += folder.delete_prefix("jobs")
        return count

    def write(worker: int) -> int:
        for number in range(150):
            info = folder.put(f"jobs/{worker}/deep/{number % 3}", b"x" * 10)
            assert info.size == 10
        return 150

    with ThreadPoolExecutor(5) as pool:
        deleters = [pool.submit(delete) for _ in range(2)]
        written = [pool.submit(write, worker) for worker in range(3)]
        try:
            assert [each.result() for each in written] == [150] * 3
        finally:
            stop.set()
        assert sum(each.result() for each in deleters) > 0

    folder.delete_prefix("jobs")
    assert list(folder.list()) == []


def test_readers_see_one_version_or_the_other_while_an_object_is_replaced(folder):
    versions = {bytes([number]) * 100_000 for number in range(4)}
    folder.put("a", bytes(100_000))

    def write(data: bytes) -> None:
        for _ in range(50):
            folder.put("a", data)

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, data) for data in versions]
        while not all(each.done() for each in writers):
            assert folder.read("a") in versions
            with folder.open("a") as file:
                assert file.read() in versions
        for each in writers:
            each.result()


def test_a_file_that_shrinks_while_it_is_streamed_is_an_error_not_a_short_read(folder, root):
    folder.put("a", bytes(100_000))
    stream = folder.stream("a", chunk=50_000)
    next(stream)
    os.truncate(root / "a", 60_000)

    with pytest.raises(StorageError, match="ended"):
        list(stream)


def test_a_folder_that_vanishes_is_unavailable_and_is_not_made_anew(folder, root):
    root.rmdir()

    with pytest.raises(StorageUnavailable, match="VFQ_STORAGE_URL"):
        folder.check()
    with pytest.raises(StorageUnavailable, match="VFQ_STORAGE_URL"):
        folder.put("a", b"x")
    for ask in (folder.read, folder.head, folder.delete, lambda key: list(folder.list())):
        with pytest.raises(StorageUnavailable, match="mounted"):
            ask("a")
    assert not root.exists()


@contextmanager
def unprivileged() -> Iterator[None]:
    """Permissions do not bind root, so be someone else for a while."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


def test_a_folder_without_permission_is_denied(folder, root):
    folder.put("a", b"x")
    root.chmod(0)

    with unprivileged():
        for ask in (folder.check, lambda: folder.put("a", b"y"), lambda: folder.read("a"), lambda: folder.delete("a")):
            with pytest.raises(StorageDenied, match="VFQ_STORAGE_URL"):
                ask()


def test_a_full_disk_is_unavailable_with_its_reason(folder, root):
    with folder.writer("a") as out, Path("/dev/full").open("wb") as full:
        os.dup2(full.fileno(), out._file.fileno())
        with pytest.raises(StorageUnavailable, match="No space left"):
            out.write(bytes(1_000_000))

    assert files(root) == []


def test_a_folder_that_cannot_be_made_names_its_setting(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(SettingsError, match="VFQ_STORAGE_URL"):
        open_storage(f"file://{tmp_path}/file/store")


def test_only_what_is_durable_waits_for_the_disk(tmp_path, monkeypatch):
    store = open_storage(f"file://{tmp_path}/store")
    synced = []
    monkeypatch.setattr("shared.storage.folder.os.fsync", synced.append)
    store.put("work/a", b"made again", durable=False)
    assert synced == []
    assert store.read("work/a") == b"made again"
    store.put("b", b"kept")
    assert synced


def test_an_uploaded_file_stays_when_its_first_name_goes(tmp_path):
    store = open_storage(f"file://{tmp_path}/store")
    source = tmp_path / "result.wav"
    source.write_bytes(b"sound")
    info = store.upload_file("jobs/1/result.1", source)
    inode = source.stat().st_ino
    source.unlink()
    assert (store.read("jobs/1/result.1"), info.size) == (b"sound", 5)
    assert (tmp_path / "store/jobs/1/result.1").stat().st_ino == inode, "it was not copied"
    assert [path.name for path in (tmp_path / "store/jobs/1").iterdir()] == ["result.1"]


def test_a_file_that_cannot_have_a_second_name_is_copied(tmp_path, monkeypatch):
    store = open_storage(f"file://{tmp_path}/store")
    source, link = tmp_path / "result.wav", tmp_path / "link.wav"
    source.write_bytes(b"sound")
    link.symlink_to(source)
    store.upload_file("through-link", link)

    def refused(*args, **kwargs):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("shared.storage.folder.os.link", refused)
    store.upload_file("copied", source)
    source.unlink()
    assert store.read("through-link") == store.read("copied") == b"sound"
