import os
import shutil

import pytest
import torch

from bench.parity import snr_db
from bench.signals import speech_like
from worker.models.checkpoints import read_checkpoint
from worker.models.constants import HOP, WINDOW, frame_count
from worker.models.errors import CheckpointChangedError, InputError
from worker.models.files import RESTORER_FILE
from worker.models.folding import copy_tensors
from worker.models.frontend import centre_pad
from worker.models.hub import WeightsSource
from worker.models.interface import RestoreCondition
from worker.models.plain import PlainBackend
from worker.models.registry import load_restorer
from worker.models.restorer import VoiceFixerRestorer


@pytest.fixture(scope="module")
def audio():
    return torch.from_numpy(speech_like(31_111, 8))[None, None]


@pytest.fixture(scope="module")
def plain(restorer, audio):
    return restorer.forward(audio)


@pytest.mark.parametrize("samples", [1, 440, 441, 1024, 1025, 28_223, 28_224])
def test_any_length_gives_its_number_of_frames(restorer, samples):
    mel = restorer.forward(torch.from_numpy(speech_like(samples, 1))[None, None])
    assert mel.shape == (1, 1, frame_count(samples), 128)
    assert mel.isfinite().all()
    assert (mel >= 0).all()


def test_padded_windows_and_whole_files_are_one_computation(restorer, audio, plain):
    frames = frame_count(audio.shape[2])
    padded = centre_pad(audio[:, 0])[:, : HOP * (frames - 1) + WINDOW]
    assert torch.equal(restorer.restore(padded, [RestoreCondition()]), plain)


def test_mode_1_is_mode_0_on_samples_that_were_band_limited_before(restorer, audio, plain):
    padded = centre_pad(audio[:, 0])[:, : HOP * (plain.shape[2] - 1) + WINDOW]
    assert torch.equal(restorer.restore(padded, [RestoreCondition(mode=1)]), plain)
    with pytest.raises(InputError, match="limit the band first"):
        restorer.forward(audio, mode=1)


def test_audio_of_another_rate_is_refused_before_anything_is_computed(restorer, audio):
    with pytest.raises(InputError, match="48000 Hz; resample first"):
        restorer.forward(audio, sample_rate=48_000)


def test_items_of_a_batch_do_not_touch_each_other(restorer, audio, plain):
    pair = torch.cat((audio, audio.flip(2)))
    assert snr_db(plain, restorer.forward(pair)[:1]) > 110


def test_a_window_on_the_grid_nears_the_whole_file_and_one_off_it_does_not(restorer):
    audio = torch.from_numpy(speech_like(HOP * 600, 2))[None, None]
    whole = restorer.forward(audio).log10()[:, :, 400:460]
    padded = centre_pad(audio[:, 0])
    errors = {}
    for off in (0, 13):
        first = 64 + off
        window = restorer.restore(padded[:, HOP * first : HOP * 600 + WINDOW], [RestoreCondition()]).log10()
        errors[off] = snr_db(whole, window[:, :, 400 - first : 460 - first])
    assert errors[0] > 80  # with 3.4 s of context
    assert errors[13] < 40


def test_mode_2_depends_on_its_seed_alone(restorer, audio, plain):
    one, again, other = (restorer.forward(audio, mode=2, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(one, again)
    assert snr_db(one, other) < 40
    assert snr_db(plain, one) < 40


def test_mode_2_leaves_the_loaded_weights_and_mode_0_as_they_were(restorer, audio, plain):
    before = {key: tensor.clone() for key, tensor in restorer.unfolded.state_dict().items()}
    folded = {key: tensor.clone() for key, tensor in restorer.runner.state_dict().items()}
    restorer.forward(audio, mode=2, seed=1)
    assert all(torch.equal(tensor, before[key]) for key, tensor in restorer.unfolded.state_dict().items())
    assert all(torch.equal(tensor, folded[key]) for key, tensor in restorer.runner.state_dict().items())
    assert torch.equal(restorer.forward(audio), plain)


def test_mode_2_needs_the_file_of_the_weights_once_and_by_whatever_name(tmp_path, random_weights, restorer, audio):
    path = tmp_path / RESTORER_FILE
    path.symlink_to((random_weights / RESTORER_FILE).resolve())
    source = WeightsSource(folder=tmp_path, repositories=(), allow_other=True)
    loaded = load_restorer("VoiceFixerRestorer", weights=source)
    path.unlink()
    expected = restorer.forward(audio, mode=2, seed=3)
    assert torch.equal(loaded.forward(audio, mode=2, seed=3), expected)


def test_mode_2_refuses_weights_that_were_written_into_since(restorer, random_weights, audio, tmp_path):
    path = tmp_path / RESTORER_FILE
    shutil.copy(random_weights / RESTORER_FILE, path)
    source = WeightsSource(folder=tmp_path, repositories=(), allow_other=True)
    loaded = load_restorer("VoiceFixerRestorer", weights=source)
    path.write_bytes(b"new weights, half written")
    assert torch.equal(loaded.forward(audio), restorer.forward(audio))
    with pytest.raises(CheckpointChangedError, match="Restart the worker"):
        loaded.forward(audio, mode=2)


def test_mode_2_refuses_weights_that_are_written_into_while_they_are_copied(
    random_weights, audio, tmp_path, monkeypatch
):
    path = tmp_path / RESTORER_FILE
    shutil.copy(random_weights / RESTORER_FILE, path)
    loaded = load_restorer(
        "VoiceFixerRestorer", weights=WeightsSource(folder=tmp_path, repositories=(), allow_other=True)
    )

    def interrupted(tensors, device):
        copied = copy_tensors(tensors, device)
        with path.open("r+b") as file:
            file.write(b"P")
        os.utime(path, ns=(1, 1))  # a clock may be too coarse to tell two writes of one test
        return copied

    monkeypatch.setattr("worker.models.restorer.copy_tensors", interrupted)
    for _ in range(2):
        with pytest.raises(CheckpointChangedError, match="Restart the worker"):
            loaded.forward(audio, mode=2)


def test_mode_2_shares_the_loaded_tensors(restorer, audio):
    restorer.forward(audio, mode=2)
    loaded = {tensor.data_ptr() for tensor in restorer.unfolded.parameters()}
    assert {tensor.data_ptr() for tensor in restorer._drawn[0].parameters()} == loaded


def test_an_item_of_mode_2_is_the_same_alone_and_in_a_mixed_batch(restorer, audio, plain):
    padded = centre_pad(audio[:, 0])[:, : HOP * (plain.shape[2] - 1) + WINDOW]
    conditions = [RestoreCondition(), RestoreCondition(mode=2, seed=9), RestoreCondition(mode=1)]
    mixed = restorer.restore(torch.cat((padded, padded, padded.flip(1))), conditions)
    alone = restorer.restore(padded, [RestoreCondition(mode=2, seed=9)])
    assert torch.equal(mixed[1:2], alone)
    assert snr_db(plain, mixed[:1]) > 110


def test_mode_2_takes_what_is_too_short_for_statistics_at_the_bottom(restorer):
    mel = restorer.forward(torch.from_numpy(speech_like(2000, 1))[None, None], mode=2)
    assert mel.shape == (1, 1, 5, 128)
    assert mel.isfinite().all()


def test_nothing_of_a_result_can_be_trained(plain):
    assert not plain.requires_grad


def test_every_tensor_follows_the_model_to_its_device(random_weights, audio):
    """The meta device computes shapes alone and, like a GPU, refuses what was left on the CPU."""
    tensors = read_checkpoint(random_weights / RESTORER_FILE, RESTORER_FILE, allow_other=True).tensors
    restorer = VoiceFixerRestorer.from_tensors(tensors, backend=PlainBackend("meta"))
    for mode in (0, 2):
        mel = restorer.forward(audio, mode=mode)
        assert (mel.device.type, mel.shape) == ("meta", (1, 1, frame_count(audio.shape[2]), 128))
