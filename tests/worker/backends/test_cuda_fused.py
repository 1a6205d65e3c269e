"""The kernels by Triton's interpreter, which needs no GPU."""

import os
from importlib.util import find_spec

import pytest
import torch

if find_spec("triton") is None:
    pytest.skip("triton is not installed", allow_module_level=True)

os.environ.setdefault("TRITON_INTERPRET", "1")

from bench.parity import snr_db
from worker.backends.cuda.convolution import as_signal
from worker.backends.cuda.fused import FusedStack
from worker.models.tfgan import ResidualStack

SMALL = (16, 16, 16, 4, 1)


@pytest.mark.parametrize("length", [1, 37, 64])
def test_fused_stacks_are_the_network_s(length):
    torch.manual_seed(0)
    stack = ResidualStack(32)
    x = torch.randn(2, 32, length)
    with torch.inference_mode():
        made = FusedStack(stack, torch.float32, SMALL)(as_signal(x, torch.float32))
        expected = stack(x.clone())
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert snr_db(expected, made[:, :, 0]) >= 100


def test_a_crop_in_time_and_any_layout_are_taken_as_they_are():
    torch.manual_seed(0)
    stack = ResidualStack(32)
    x = torch.randn(2, 32, 60)
    with torch.inference_mode():
        expected = stack(x[:, :, 7:50].clone())
        run = FusedStack(stack, torch.float32, SMALL)
        assert snr_db(expected, run(as_signal(x, torch.float32)[..., 7:50])[:, :, 0]) >= 100
        assert snr_db(expected, run(x[:, :, None, 7:50])[:, :, 0]) >= 100


def test_16_bits_round_no_more_than_a_plain_pass():
    torch.manual_seed(0)
    stack = ResidualStack(32)
    x = torch.randn(1, 32, 40)
    with torch.inference_mode():
        expected = stack(x.clone())
        made = FusedStack(stack, torch.float16, SMALL)(as_signal(x, torch.float16))
    assert made.dtype == torch.float16
    assert snr_db(expected, made[:, :, 0].float()) >= 50
