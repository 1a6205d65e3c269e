import hashlib
import os
from pathlib import Path

import pytest
import torch

from worker.models.errors import CheckpointChangedError
from worker.models.weightsfile import WeightsFile


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"a": torch.arange(5000), "note": "no tensor"}, path)
    return path


def replace(path):
    other = path.with_name("new")
    torch.save({"a": torch.zeros(5000)}, other)
    other.replace(path)


def cut(path):
    with path.open("r+b") as file:
        file.truncate(600)


def overwrite(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))  # a clock may be too coarse to tell two writes of one test


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("change", [replace, lambda path: path.unlink()])
def test_a_file_that_lost_its_name_still_gives_its_own_tensors(path, change):
    file, content = WeightsFile(path), path.read_bytes()
    change(path)
    with file.tensors() as tensors:
        assert torch.equal(tensors["a"], torch.arange(5000))
    assert file.digests().md5 == hashlib.md5(content).hexdigest()


@pytest.mark.parametrize("change", [cut, overwrite])
def test_a_file_that_was_written_into_is_not_used_again(path, change):
    file = WeightsFile(path)
    with file.tensors():
        pass
    change(path)
    with pytest.raises(CheckpointChangedError), file.tensors():
        pass
    with pytest.raises(CheckpointChangedError, match="Restart the worker"):
        file.check_unchanged()


def test_tensors_of_a_file_that_is_written_into_meanwhile_do_not_pass(path):
    with pytest.raises(CheckpointChangedError), WeightsFile(path).tensors():
        overwrite(path)


def test_digests_are_of_what_was_opened_and_not_of_what_it_became(path):
    file = WeightsFile(path)
    overwrite(path)
    for ask in (file.digests, file.sha256, lambda: file.has_md5("0" * 32)):
        with pytest.raises(CheckpointChangedError):
            ask()


def test_the_digests_of_a_file_are_those_of_its_new_content_when_it_is_opened_again(path):
    before = WeightsFile(path).digests()
    overwrite(path)
    after = WeightsFile(path).digests()
    assert before != after
    assert after.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_only_tensors_are_given_as_tensors(path):
    file = WeightsFile(path)
    with file.tensors() as tensors:
        assert set(tensors) == {"a"}
    assert set(file.table()) == {"a", "note"}


def test_a_file_is_closed_when_nobody_holds_it_any_more(path):
    before = open_files()
    files = [WeightsFile(path) for _ in range(5)]
    assert open_files() == before + 5
    del files
    assert open_files() == before
