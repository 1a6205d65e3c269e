import hashlib
import subprocess
import sys

import pytest

from worker.models import digests
from worker.models.digests import hash_ahead
from worker.models.files import PUBLISHED_MD5, RESTORER_FILE, VOCODER_FILE
from worker.models.hub import WeightsSource
from worker.models.weightsfile import WeightsFile


@pytest.fixture
def folder(tmp_path):
    for file in (RESTORER_FILE, VOCODER_FILE):
        (tmp_path / file).write_bytes(file.encode() * 1000)
    return tmp_path


MD5 = hashlib.md5(RESTORER_FILE.encode() * 1000).hexdigest()
SHA256 = hashlib.sha256(RESTORER_FILE.encode() * 1000).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "voicefixer-queue" / "published"


@pytest.fixture
def read(monkeypatch):
    """The names of the digests that were worked out."""
    names, work = [], digests._digest
    monkeypatch.setattr(digests, "_digest", lambda descriptor, name: names.append(name) or work(descriptor, name))
    return names


def forget():
    digests._sha256s.clear()
    digests._checks.clear()


def test_what_was_hashed_ahead_is_not_read_again(folder, read):
    hash_ahead(WeightsSource(folder=folder, repositories=()), [RESTORER_FILE])
    file = WeightsFile(folder / RESTORER_FILE)
    assert file.sha256() == SHA256
    assert not file.has_md5(PUBLISHED_MD5[RESTORER_FILE])
    assert sorted(read) == ["md5", "sha256"]


def test_no_md5_is_worked_out_where_other_weights_are_allowed(folder, read):
    hash_ahead(WeightsSource(folder=folder, repositories=(), allow_other=True), [RESTORER_FILE])
    assert WeightsFile(folder / RESTORER_FILE).sha256() == SHA256
    assert read == ["sha256"]


def test_a_file_that_changed_since_it_was_hashed_ahead_is_hashed_again(folder):
    path = folder / VOCODER_FILE
    hash_ahead(WeightsSource(folder=folder, repositories=()), [VOCODER_FILE])
    WeightsFile(path).sha256()
    path.write_bytes(b"other")
    assert WeightsFile(path).sha256() == hashlib.sha256(b"other").hexdigest()
    assert WeightsFile(path).has_md5(hashlib.md5(b"other").hexdigest())


def test_files_longer_than_a_block_are_hashed_whole(folder, monkeypatch):
    monkeypatch.setattr(digests, "_BLOCK", 1000)
    file = WeightsFile(folder / RESTORER_FILE)
    assert file.has_md5(MD5)
    assert file.digests() == digests.Digests(MD5, SHA256)


def test_the_md5_of_a_published_file_is_worked_out_once_and_remembered(folder, read, cache):
    for _ in range(2):
        forget()
        assert WeightsFile(folder / RESTORER_FILE).has_md5(MD5)
    assert sorted(read) == ["md5", "sha256", "sha256"]
    assert [path.name for path in cache.iterdir()] == [SHA256]


@pytest.mark.parametrize("kept", ["", "0" * 32, MD5 + "\n", MD5.upper()])
def test_what_is_remembered_wrongly_is_worked_out_again(folder, cache, read, kept):
    cache.mkdir(parents=True)
    (cache / SHA256).write_text(kept)
    forget()
    assert WeightsFile(folder / RESTORER_FILE).has_md5(MD5)
    assert "md5" in read
    assert (cache / SHA256).read_text() == MD5


def test_nothing_is_remembered_of_other_weights_nor_believed_when_they_are_asked_for_now(folder, cache):
    assert not WeightsFile(folder / RESTORER_FILE).has_md5("0" * 32)
    assert not cache.exists()
    cache.mkdir(parents=True)
    (cache / SHA256).write_text("0" * 32)
    assert WeightsFile(folder / RESTORER_FILE).digests().md5 == MD5


@pytest.mark.parametrize("place", ["relative", "/dev/null"])
def test_without_a_place_to_remember_files_are_hashed_all_the_same(folder, monkeypatch, place):
    monkeypatch.setenv("XDG_CACHE_HOME", place)
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.chdir(folder)
    forget()
    assert WeightsFile(folder / RESTORER_FILE).has_md5(MD5)
    assert {path.name for path in folder.iterdir()} <= {RESTORER_FILE, VOCODER_FILE, "cache"}


def test_weights_that_are_not_there_are_told_when_they_are_loaded_and_not_before(tmp_path):
    (tmp_path / RESTORER_FILE).mkdir()
    hash_ahead(WeightsSource(folder=tmp_path, repositories=()), [RESTORER_FILE, VOCODER_FILE])


def test_hashing_begins_without_torch():
    code = "import sys, worker.weights; sys.exit(bool({'torch', 'numpy', 'huggingface_hub'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
