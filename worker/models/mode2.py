"""Mode 2: the restorer as it ran in training, with the item's own statistics and an active dropout.

Meant for seriously degraded speech. The loaded tensors are only read: nothing here keeps running statistics.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class OwnStatistics(nn.Module):
    """A batch norm by the mean and variance of what it is given."""

    def __init__(self, learned: nn.BatchNorm2d) -> None:
        super().__init__()
        self.learned = learned

    def forward(self, x: Tensor) -> Tensor:
        """`[1, C, T, F]` → the same shape."""
        norm = self.learned
        # A single value has no variance (the bottom of the UNet for up to 64 frames): there the learned ones serve.
        alone = x.shape[0] * x.shape[2] * x.shape[3] == 1
        mean, variance = (norm.running_mean, norm.running_var) if alone else (None, None)
        return functional.batch_norm(x, mean, variance, norm.weight, norm.bias, training=not alone, eps=norm.eps)


class SeededDropout(nn.Module):
    """A dropout that draws from a generator of its own, on the CPU so that every device drops the same."""

    def __init__(self, rate: float, generator: torch.Generator) -> None:
        super().__init__()
        self.keep = 1.0 - rate
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        """Any shape → the same shape."""
        mask = torch.empty(x.shape).bernoulli_(self.keep, generator=self.generator).div_(self.keep)
        return x * mask.to(x.device)


def in_training_manner(network: nn.Module) -> torch.Generator:
    """Replace the norms and dropouts of an unfolded network in place; gives the generator to seed an item with."""
    generator = torch.Generator(device="cpu")
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, OwnStatistics(child))
            elif isinstance(child, nn.Dropout):
                setattr(parent, name, SeededDropout(child.p, generator))
    return generator
