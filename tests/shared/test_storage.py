"""What holds for every store: a folder and a real S3 server."""

from __future__ import annotations

import io
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile

from shared.errors import InvalidKey, ObjectMissing
from shared.storage import ObjectStore, s3

MIB = 1024 * 1024
DATA = bytes(range(100))


def keys(store: ObjectStore, prefix: str = "", **page) -> list[str]:
    return [info.key for info in store.list(prefix, **page)]


def test_what_is_put_is_read_back_and_described(store):
    info = store.put("jobs/1/source", DATA, content_type="audio/wav")

    assert store.read("jobs/1/source") == DATA
    found = store.head("jobs/1/source")
    assert (found.key, found.size, found.etag) == ("jobs/1/source", 100, info.etag)
    assert info.etag
    assert '"' not in info.etag
    assert found.modified.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - found.modified) < timedelta(minutes=5)
    assert [(each.size, each.etag) for each in store.list()] == [(100, info.etag)]


def test_a_second_put_replaces_the_first_and_changes_the_etag(store):
    first = store.put("a", b"one")
    second = store.put("a", b"two")

    assert store.read("a") == b"two"
    assert first.etag != second.etag
    assert keys(store) == ["a"]


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, None), (3, 7), (99, 100), (5, 5), (0, 0), (90, 200), (0, 200), (100, None), (100, 120), (150, 160)],
)
def test_a_range_is_what_a_slice_of_the_bytes_is(store, start, stop):
    store.put("a", DATA)

    assert store.read("a", start, stop) == DATA[start:stop]
    assert b"".join(store.stream("a", start, stop, chunk=7)) == DATA[start:stop]


@pytest.mark.parametrize(("start", "stop"), [(-1, None), (5, 4)])
def test_a_range_that_runs_backwards_is_a_mistake_of_the_caller(store, start, stop):
    store.put("a", DATA)

    with pytest.raises(ValueError, match="range"):
        store.read("a", start, stop)


def test_an_empty_object_is_an_object(store):
    with store.writer("empty") as out:
        assert out.commit().size == 0

    assert store.head("empty").size == 0
    assert store.read("empty") == store.read("empty", 0, 10) == store.open("empty").read() == b""


def test_a_missing_object_is_told_by_every_way_of_reading_it(store):
    store.put("a", DATA)

    for ask in (store.read, store.stream, store.open, store.head):
        with pytest.raises(ObjectMissing, match="b"):
            ask("b")  # a stream tells before its first piece
    with pytest.raises(ObjectMissing):
        store.read("b", 0, 0)


def test_a_stream_comes_in_pieces_of_the_asked_size_and_may_be_left_early(store):
    store.put("a", DATA)

    assert [len(piece) for piece in store.stream("a", chunk=30)] == [30, 30, 30, 10]
    stream = store.stream("a", chunk=30)
    next(stream)
    stream.close()
    assert list(stream) == []


def test_deleting_is_idempotent(store):
    store.put("a", DATA)

    store.delete("a")
    store.delete("a")
    store.delete("never/was")

    with pytest.raises(ObjectMissing):
        store.head("a")


def test_a_writer_shows_nothing_before_its_commit(store):
    with store.writer("a") as out:
        assert out.write(b"one") == 3
        out.write(bytearray(b"two"))
        out.write(memoryview(b"three"))
        assert keys(store) == []
        info = out.commit()

    assert (info.key, info.size) == ("a", 11)
    assert store.read("a") == b"onetwothree"


@pytest.mark.parametrize("size", [10, 11 * MIB])
def test_a_writer_left_without_commit_leaves_what_was_there_before(store, size):
    store.put("a", b"before")

    with store.writer("a", part_size=5 * MIB) as out:
        out.write(bytes(size))
    with suppress(KeyError), store.writer("a", part_size=5 * MIB) as out:
        out.write(bytes(size))
        raise KeyError
    out = store.writer("a", part_size=5 * MIB)
    out.write(bytes(size))
    out.abort()
    out.abort()

    assert store.read("a") == b"before"
    assert keys(store) == ["a"]
    assert store.sweep(timedelta(0)) == 0


def test_a_writer_that_has_ended_takes_no_more(store):
    with store.writer("a") as out:
        out.write(DATA)
        out.commit()
        with pytest.raises(ValueError, match=r"closed|committed"):
            out.write(DATA)
        with pytest.raises(ValueError, match=r"closed|committed"):
            out.commit()
        out.abort()

    assert store.read("a") == DATA


def test_an_object_of_several_parts_is_read_back_whole_and_across_their_seams(store):
    data = random.Random(1).randbytes(12 * MIB)
    with store.writer("big", part_size=5 * MIB) as out:
        for start in range(0, len(data), 700_001):
            out.write(data[start : start + 700_001])
        info = out.commit()

    assert info.size == len(data)
    assert info == store.head("big")
    assert store.read("big") == data
    seam = 5 * MIB
    assert store.read("big", seam - 10, seam + 10) == data[seam - 10 : seam + 10]


@pytest.mark.parametrize("size", [5 * MIB, 10 * MIB])
def test_an_object_that_fills_its_last_part_is_whole(store, size):
    data = random.Random(2).randbytes(size)

    with store.writer("a", part_size=5 * MIB) as out:
        out.write(data)
        out.commit()

    assert store.read("a") == data


def test_a_file_is_uploaded(store, tmp_path):
    path = Path(tmp_path, "source.bin")
    path.write_bytes(DATA * 50_000)

    assert store.upload_file("copy", path).size == 5_000_000
    assert store.read("copy") == path.read_bytes()


def test_an_open_object_reads_and_seeks_like_a_file(store):
    data = random.Random(3).randbytes(3 * MIB)
    store.put("a", data)
    dice = random.Random(4)

    with store.open("a") as file, io.BytesIO(data) as model:
        assert file.seekable()
        assert file.readable()
        for _ in range(60):
            where, length = dice.randrange(len(data) + 10), dice.randrange(200_000)
            assert file.seek(where) == model.seek(where)
            assert file.read(length) == model.read(length)
            assert file.tell() == model.tell()
        assert file.seek(-5, io.SEEK_END) == len(data) - 5
        assert file.read() == data[-5:]
        file.seek(0)
        assert file.read() == data


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_a_decoder_reads_straight_from_an_open_object(store, form):
    samples = np.random.default_rng(5).integers(-3000, 3000, (44_100, 2), dtype=np.int16)
    with store.writer("a") as out:
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, 44_100, format=form, subtype="PCM_16")
        out.write(buffer.getbuffer())
        out.commit()

    with store.open("a") as file:
        decoded, rate = soundfile.read(file, dtype="int16")

    assert rate == 44_100
    assert np.array_equal(decoded, samples)


NAMES = ["a.txt", "a/b", "a/c/d", "a/c.d", "a0", "b", "jobs/1/x", "jobs/10/x", "ü/ü"]


def test_a_listing_is_in_the_order_of_the_keys_and_takes_a_prefix_as_text(store):
    for name in reversed(NAMES):
        store.put(name, b"x")

    assert keys(store) == sorted(NAMES)
    for prefix in ("a", "a/", "a/c", "a/c/", "jobs/1", "jobs/1/", "ü", "none", "none/"):
        assert keys(store, prefix) == sorted(name for name in NAMES if name.startswith(prefix))


@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_pages_of_a_listing_give_every_key_once(store, size):
    for name in NAMES:
        store.put(name, b"x")

    found: list[str] = []
    while page := keys(store, after=found[-1] if found else None, limit=size):
        assert len(page) <= size
        found += page

    assert found == sorted(NAMES)
    assert keys(store, "a/", after="a/b") == ["a/c.d", "a/c/d"]
    assert keys(store, limit=0) == []


def test_deleting_a_prefix_takes_its_folder_and_spares_its_neighbours(store, monkeypatch):
    monkeypatch.setattr(s3, "PAGE_SIZE", 2)  # so that it takes several requests
    for name in ("jobs/1/a", "jobs/1/b/c", "jobs/1/b/d", "jobs/1/e", "jobs/1/f", "jobs/10/a", "jobs/1.old"):
        store.put(name, b"x")

    assert store.delete_prefix("jobs/1") == 5
    assert store.delete_prefix("jobs/1/") == 0
    assert keys(store) == ["jobs/1.old", "jobs/10/a"]


@pytest.mark.parametrize("prefix", ["", "/", "../jobs", "jobs//1"])
def test_deleting_everything_by_a_slip_is_refused(store, prefix):
    store.put("a", b"x")

    with pytest.raises(InvalidKey):
        store.delete_prefix(prefix)
    assert keys(store) == ["a"]


BAD_KEYS = [
    "",
    "/etc/passwd",
    "../secret",
    "jobs/../../secret",
    "jobs/..",
    "./a",
    "a//b",
    "a/",
    "a\\b",
    "a\0b",
    "a\nb",
    "a\x7fb",
    "\udcff",
    ".vfq-1234",
    "k" * 1025,
]


@pytest.mark.parametrize("key", BAD_KEYS, ids=ascii)
def test_a_key_that_is_no_plain_relative_path_is_refused_everywhere(store, key):
    asks = [
        lambda: store.put(key, b"x"),
        lambda: store.writer(key),
        lambda: store.read(key),
        lambda: store.stream(key),
        lambda: store.open(key),
        lambda: store.head(key),
        lambda: store.delete(key),
        lambda: store.presign_get(key, expires=60) or store.head(key),
        lambda: store.presign_put(key, expires=60) or store.head(key),
    ]
    for ask in asks:
        with pytest.raises(InvalidKey):
            ask()


@pytest.mark.parametrize("prefix", ["../", "/", "a//", "a\0"])
def test_a_listing_of_what_is_no_prefix_is_refused(store, prefix):
    with pytest.raises(InvalidKey):
        list(store.list(prefix))


ODD_KEYS = ["a b+c%20&<d>?#", "…/ünï/日本", ".hidden/..a", "~/-x", "a:b*c|'\"", "x" * 200]


@pytest.mark.parametrize("key", ODD_KEYS, ids=ascii)
def test_unusual_but_sound_keys_come_back_as_they_were(store, key):
    store.put(key, DATA)

    assert store.read(key, 1, 3) == DATA[1:3]
    assert keys(store) == [key]
    assert keys(store, key) == [key]
    store.delete(key)
    assert keys(store) == []


def test_a_store_that_works_passes_its_check_and_the_check_leaves_nothing(store):
    store.check()

    assert keys(store) == []


def test_a_sweep_takes_only_what_was_left_long_ago(store):
    store.put("whole", DATA)
    writer = store.writer("cut", part_size=5 * MIB)
    writer.write(bytes(11 * MIB))  # and then its process is killed

    assert store.sweep(timedelta(hours=1)) == 0
    assert store.sweep(timedelta(seconds=-5)) == 1
    assert store.sweep(timedelta(seconds=-5)) == 0
    assert keys(store) == ["whole"]


def test_threads_share_one_store(store):
    def use(number: int) -> bytes:
        key = f"jobs/{number % 3}/{number}"
        store.put(key, bytes([number]) * 1000)
        return store.read(key, 10, 20)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(use, range(32)))

    assert found == [bytes([number]) * 10 for number in range(32)]
    assert len(keys(store)) == 32


def test_a_copy_is_an_object_of_its_own(store):
    store.put("a/one", DATA)

    info = store.copy("a/one", "b/two")

    assert (info.key, info.size) == ("b/two", len(DATA))
    store.delete("a/one")
    assert store.read("b/two") == DATA
    store.put("a/one", b"another")
    assert store.read("b/two") == DATA
    with pytest.raises(ObjectMissing):
        store.copy("nowhere", "c")
    assert keys(store) == ["a/one", "b/two"]


def test_a_copy_replaces_what_was_there(store):
    store.put("a", b"new")
    store.put("b", b"old")

    store.copy("a", "b")

    assert store.read("b") == b"new"


def test_a_large_copy_is_made_of_parts(store, monkeypatch):
    from shared.storage import s3

    small = s3.TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, use_threads=False)
    monkeypatch.setattr(s3, "COPY", small)
    with store.writer("a") as out:
        for number in range(12):
            out.write(bytes([number]) * MIB)
        out.commit()

    assert store.copy("a", "b").size == 12 * MIB
    assert store.read("b", 7 * MIB - 1, 7 * MIB + 1) == bytes([6, 7])
