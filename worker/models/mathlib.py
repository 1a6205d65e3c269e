"""Works around a race in PyTorch's vector mathematics (MKL): import it before anything is computed.

Where the first call of a process is one that several threads share, they may get different kernels: in some processes
the second half of the first `torch.hann_window(2048)` is 7.6e-5 off (torch 2.13.0, 2 threads, another one busy). Where
one thread alone made the first call, that has not been seen.
"""

import torch

_FUNCTIONS = (torch.cos, torch.sin, torch.tan, torch.exp, torch.log, torch.log10, torch.sqrt, torch.tanh)


def settle() -> None:
    """Call each function with less than threads would share."""
    few = torch.full((8,), 0.5)
    for function in _FUNCTIONS:
        function(few)


settle()
