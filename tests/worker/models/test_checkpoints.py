import hashlib
import logging
import pickle

import pytest
import torch

from worker.models import checkpoints
from worker.models.checkpoints import read_checkpoint, verify, vocoder_tensors
from worker.models.errors import (
    CheckpointError,
    CheckpointHashError,
    CheckpointMismatchError,
    CheckpointUnreadableError,
)
from worker.models.files import RESTORER_FILE, VOCODER_FILE
from worker.models.layout import INVERSE_STFT, expected_layout


def blank(file, **keys):
    """Tensors of the right shape that take next to no room: one stored value each."""
    layout = expected_layout(file, keys)
    return {key: torch.zeros((), dtype=spec.dtype).expand(spec.shape) for key, spec in layout.items()}


def save(folder, file, content, **options):
    path = folder / file
    torch.save({"generator": content} if file == VOCODER_FILE else content, path, **options)
    return path


def read(path, file=None):
    return read_checkpoint(path, file or path.name, allow_other=True)


@pytest.mark.parametrize("file", [RESTORER_FILE, VOCODER_FILE])
def test_a_right_file_is_read_whole(tmp_path, file):
    checkpoint = read(save(tmp_path, file, blank(file)))
    assert set(checkpoint.tensors) == set(expected_layout(file, {}))
    assert checkpoint.sha256 == hashlib.sha256((tmp_path / file).read_bytes()).hexdigest()


def test_a_training_checkpoint_keeps_its_tensors_under_state_dict(tmp_path):
    path = save(tmp_path, RESTORER_FILE, {"state_dict": blank(RESTORER_FILE), "epoch": 15})
    assert len(read(path).tensors) == 894


def test_a_file_written_with_old_torchlibrosa_is_right_too(tmp_path):
    old = dict.fromkeys(INVERSE_STFT["overlap_add"])
    assert len(read(save(tmp_path, RESTORER_FILE, blank(RESTORER_FILE, **old))).tensors) == 895


def test_a_file_from_before_the_zip_format_is_right_too(tmp_path):
    path = save(tmp_path, VOCODER_FILE, blank(VOCODER_FILE), _use_new_zipfile_serialization=False)
    assert len(read(path).tensors) == 233


def test_a_missing_key_is_counted_and_named(tmp_path):
    tensors = blank(RESTORER_FILE)
    del tensors["generator.unet.conv_block7.conv1.weight"]
    with pytest.raises(CheckpointMismatchError) as raised:
        read(save(tmp_path, RESTORER_FILE, tensors))
    assert (raised.value.expected, raised.value.found) == (894, 893)
    assert raised.value.missing == ("generator.unet.conv_block7.conv1.weight",)
    for part in (str(tmp_path / RESTORER_FILE), "894", "893", "generator.unet.conv_block7.conv1.weight"):
        assert part in str(raised.value)


def test_an_unexpected_key_is_named(tmp_path):
    tensors = blank(VOCODER_FILE) | {"generator.99.weight": torch.zeros(1)}
    with pytest.raises(CheckpointMismatchError, match=r"expected 233 tensors and found 234.*generator\.99\.weight"):
        read(save(tmp_path, VOCODER_FILE, tensors))


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.zeros(512, 128, 5), r"\[512, 128, 5\] instead of \[512, 128, 3\]"),
        (torch.zeros(512, 128, 3, dtype=torch.float16), "float16 instead of torch.float32"),
        ("weights", "is a str and no tensor"),
    ],
)
def test_a_wrong_shape_type_or_kind_is_told(tmp_path, tensor, words):
    tensors = blank(VOCODER_FILE) | {"condnet.0.weight_v": tensor}
    with pytest.raises(CheckpointMismatchError, match=f"condnet.0.weight_v.*{words}"):
        read(save(tmp_path, VOCODER_FILE, tensors))


@pytest.mark.parametrize("file", [RESTORER_FILE, VOCODER_FILE])
def test_swapped_files_are_recognised(tmp_path, file):
    other = VOCODER_FILE if file == RESTORER_FILE else RESTORER_FILE
    path = save(tmp_path, other, blank(other))
    with pytest.raises(CheckpointMismatchError, match="swapped"):
        read(path, file)


def test_weights_of_something_else_name_the_first_keys_only(tmp_path):
    path = save(tmp_path, RESTORER_FILE, {f"layer{n}": torch.zeros(1) for n in range(50)})
    with pytest.raises(CheckpointMismatchError, match=r"found 50; 894 missing: .* and 891 more") as raised:
        read(path)
    assert len(str(raised.value)) < 700


def test_a_truncated_file_is_told_with_its_size(tmp_path, random_weights):
    path = tmp_path / VOCODER_FILE
    path.write_bytes((random_weights / VOCODER_FILE).read_bytes()[:5_000_000])
    with pytest.raises(CheckpointUnreadableError, match=r"5000000 bytes.*truncated"):
        read(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>404 not found</html>", b"PK\x03\x04" + bytes(500), b"\x80\x02" + bytes(40), bytes(1000)],
)
def test_what_is_no_checkpoint_is_unreadable(tmp_path, content):
    path = tmp_path / RESTORER_FILE
    path.write_bytes(content)
    with pytest.raises(CheckpointUnreadableError, match="weights pull"):
        read(path)


class Evil:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    "write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2))]
)
def test_a_file_that_holds_code_is_refused_and_not_run(tmp_path, capsys, write):
    path = tmp_path / RESTORER_FILE
    write({"generator": Evil()}, path)
    with pytest.raises(CheckpointUnreadableError):
        read(path)
    assert "run" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [torch.zeros(3), [torch.zeros(3)], 7])
def test_a_file_without_a_table_of_tensors_is_unreadable(tmp_path, content):
    path = tmp_path / RESTORER_FILE
    torch.save(content, path)
    with pytest.raises(CheckpointUnreadableError, match="no table of tensors"):
        read(path)


def test_a_folder_or_nothing_in_the_place_of_the_file_is_told(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(CheckpointUnreadableError, match="cannot be read"):
            read(path, RESTORER_FILE)


def test_other_weights_than_the_published_need_an_explicit_word(tmp_path):
    path = save(tmp_path, VOCODER_FILE, blank(VOCODER_FILE))
    with pytest.raises(CheckpointHashError, match=r"not the published weights.*VFQ_WEIGHTS_UNVERIFIED"):
        read_checkpoint(path, VOCODER_FILE)


def test_the_published_md5_needs_no_word(tmp_path, monkeypatch):
    path = save(tmp_path, VOCODER_FILE, blank(VOCODER_FILE))
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(checkpoints.PUBLISHED_MD5, VOCODER_FILE, md5)
    assert len(read_checkpoint(path, VOCODER_FILE).tensors) == 233


def test_no_message_repeats_the_libraries_words(tmp_path):
    for content in (b"", b"text", bytes(1000)):
        path = tmp_path / VOCODER_FILE
        path.write_bytes(content)
        with pytest.raises(CheckpointError) as raised:
            read(path)
        for word in ("Pytorch", "pickle", "torch.load", "weights_only", "0x"):
            assert word not in str(raised.value)


def test_the_vocoder_takes_the_biases_that_lie_beside_it_and_says_so(tmp_path, caplog):
    vocoder = read(save(tmp_path, VOCODER_FILE, blank(VOCODER_FILE)))
    tensors = blank(RESTORER_FILE) | {"vocoder.model.condnet.2.bias": torch.ones(512)}
    beside = read(save(tmp_path, RESTORER_FILE, tensors))
    with caplog.at_level(logging.WARNING):
        merged = vocoder_tensors(vocoder, beside)
    assert merged["condnet.2.bias"].eq(1).all()
    assert "1 of the vocoder's 75 biases differ" in caplog.text
    assert "condnet.2.bias" in caplog.text


def test_a_vocoder_alone_keeps_its_own_biases(tmp_path, caplog):
    vocoder = read(save(tmp_path, VOCODER_FILE, blank(VOCODER_FILE)))
    assert vocoder_tensors(vocoder, None) == dict(vocoder.tensors)
    assert not caplog.records


def test_verify_tells_of_each_file_what_a_worker_would_find(tmp_path, monkeypatch):
    path = save(tmp_path, VOCODER_FILE, blank(VOCODER_FILE))
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(checkpoints.PUBLISHED_MD5, VOCODER_FILE, md5)
    restorer, vocoder = verify(tmp_path)
    assert (vocoder.file, vocoder.error, vocoder.md5) == (VOCODER_FILE, None, md5)
    assert isinstance(restorer.error, CheckpointUnreadableError)
    assert restorer.md5 is None
