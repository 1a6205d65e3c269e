import pytest
import torch
from torch import nn

from worker.backends.cuda.convolution import as_signal, convolution, reflect, upsampling
from worker.models.tfgan import FACTORS, Upsampler


def is_channels_last(x):
    return x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("factor", sorted(set(FACTORS)))
@pytest.mark.parametrize("values", [1, 2, 11])
def test_an_upsampler_of_two_taps_is_the_transposed_convolution(factor, values):
    layer = Upsampler(6, 4, factor).layer.double()
    x = torch.randn(2, 6, values, dtype=torch.float64)
    made = upsampling(layer, torch.float64)(as_signal(x, torch.float64))
    assert made.shape == (2, 4, 1, factor * values)
    torch.testing.assert_close(made[:, :, 0], layer(x))


@pytest.mark.parametrize(("taps", "padding", "dilation"), [(3, 1, 1), (3, 27, 27), (7, 0, 1)])
def test_a_convolution_keeps_its_padding_and_dilation(taps, padding, dilation):
    layer = nn.Conv1d(4, 6, taps, padding=padding, dilation=dilation).double()
    x = torch.randn(2, 4, 60, dtype=torch.float64)
    converted = convolution(layer, torch.float64)
    torch.testing.assert_close(converted(as_signal(x, torch.float64))[:, :, 0], layer(x))
    assert is_channels_last(converted.weight)


def test_both_ends_are_mirrored_and_the_layout_is_kept():
    x = torch.randn(2, 4, 9)
    made = reflect(as_signal(x, torch.float32), 3)
    torch.testing.assert_close(made[:, :, 0], nn.ReflectionPad1d(3)(x))
    assert is_channels_last(made)
    assert is_channels_last(reflect(as_signal(x, torch.float32)[..., 1:8], 3))


def test_a_signal_has_its_channels_together_in_the_dtype():
    made = as_signal(torch.randn(2, 4, 9), torch.bfloat16)
    assert made.dtype == torch.bfloat16
    assert is_channels_last(made)
    assert made.stride(3) == 4
