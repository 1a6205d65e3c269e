import numpy as np
import pytest
import torch

from worker.models.errors import InputError
from worker.models.interface import RestoreCondition
from worker.models.validate import check_audio, check_mel, check_padded, check_sample_rate

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        (torch.zeros(1, 2, 100), "one channel"),
        (torch.zeros(1, 1, 0), "at least one sample"),
        (torch.zeros(100), r"not \[100\]"),
        (torch.zeros(1, 1, 9, dtype=torch.float64), "float32"),
        (np.zeros((1, 1, 9), np.float32), "float32 tensor, not ndarray"),
        (torch.tensor([[[0.0, NAN, INFINITY]]]), "2 values that are NaN or infinite"),
    ],
)
def test_audio_that_is_not_one_finite_float_channel_an_item_is_refused(audio, words):
    with pytest.raises(InputError, match=words):
        check_audio(audio)


@pytest.mark.parametrize(
    ("mel", "words"),
    [
        (torch.zeros(1, 1, 9, 80), "this one has 80"),
        (torch.zeros(1, 9, 128), "at least one frame"),
        (torch.zeros(1, 1, 0, 128), "at least one frame"),
        (torch.zeros(1, 2, 9, 128), "at least one frame"),
        (torch.zeros(1, 1, 9, 128, dtype=torch.bfloat16), "float32"),
        (torch.full((1, 1, 9, 128), -1.0), "negative"),
        (torch.full((1, 1, 9, 128), INFINITY), "NaN or infinite"),
    ],
)
def test_a_mel_that_is_not_linear_finite_and_of_128_bins_is_refused(mel, words):
    with pytest.raises(InputError, match=words):
        check_mel(mel)


@pytest.mark.parametrize("samples", [0, 2047, 2049, 2488])
def test_a_window_of_no_whole_number_of_frames_is_refused(samples):
    with pytest.raises(InputError, match=f"{samples} is no such number"):
        check_padded(torch.zeros(1, samples), [RestoreCondition()])


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (RestoreCondition(mode=3), "Mode 3"),
        (RestoreCondition(mode=2, seed=-1), "seed"),
        (RestoreCondition(mode=2, seed=2**63), "seed"),
        (RestoreCondition(noise_profile=np.zeros(128, np.float32)), "1025 bins"),
    ],
)
def test_a_condition_that_means_nothing_is_refused(condition, words):
    with pytest.raises(InputError, match=words):
        check_padded(torch.zeros(1, 2489), [condition])


def test_each_window_needs_its_condition():
    with pytest.raises(InputError, match="2 windows came with 1 conditions"):
        check_padded(torch.zeros(2, 2048), [RestoreCondition()])


def test_another_sample_rate_is_refused():
    check_sample_rate(44_100)
    with pytest.raises(InputError, match="48000 Hz; resample first"):
        check_sample_rate(48_000)
