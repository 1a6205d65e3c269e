import hashlib
import subprocess
import sys

import pytest

from worker.models import digests
from worker.models.digests import hash_ahead
from worker.models.files import RESTORER_FILE, VOCODER_FILE
from worker.models.hub import WeightsSource
from worker.models.weightsfile import WeightsFile


@pytest.fixture
def folder(tmp_path):
    for file in (RESTORER_FILE, VOCODER_FILE):
        (tmp_path / file).write_bytes(file.encode() * 1000)
    return tmp_path


def test_what_was_hashed_ahead_is_not_read_again(folder, monkeypatch):
    hash_ahead(WeightsSource(folder=folder, repositories=()), [RESTORER_FILE])
    monkeypatch.setattr(digests, "_hash", None)
    found = WeightsFile(folder / RESTORER_FILE).digests()
    assert found.sha256 == hashlib.sha256(RESTORER_FILE.encode() * 1000).hexdigest()
    assert found.md5 == hashlib.md5(RESTORER_FILE.encode() * 1000).hexdigest()


def test_a_file_that_changed_since_it_was_hashed_ahead_is_hashed_again(folder):
    path = folder / VOCODER_FILE
    hash_ahead(WeightsSource(folder=folder, repositories=()), [VOCODER_FILE])
    WeightsFile(path).digests()
    path.write_bytes(b"other")
    assert WeightsFile(path).digests().md5 == hashlib.md5(b"other").hexdigest()


def test_files_longer_than_a_block_are_hashed_whole(folder, monkeypatch):
    monkeypatch.setattr(digests, "_BLOCK", 1000)
    path = folder / RESTORER_FILE
    assert WeightsFile(path).digests().md5 == hashlib.md5(path.read_bytes()).hexdigest()


def test_weights_that_are_not_there_are_told_when_they_are_loaded_and_not_before(tmp_path):
    (tmp_path / RESTORER_FILE).mkdir()
    hash_ahead(WeightsSource(folder=tmp_path, repositories=()), [RESTORER_FILE, VOCODER_FILE])


def test_hashing_begins_without_torch():
    code = "import sys, worker.weights; sys.exit(bool({'torch', 'numpy', 'huggingface_hub'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
