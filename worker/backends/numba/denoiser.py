"""The restorer's denoiser: its GRUs step by step in compiled loops, both directions at once."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.backends.numba.compiling import Floats, compiled
from worker.backends.numba.kernels import ONE, ZERO
from worker.backends.numba.team import Team
from worker.models.denoiser import NormedGRU


@compiled(reorder=True)
def recur(
    given: Floats, weights: Floats, bias: Floats, backward: int, h: Floats, gates: Floats, output: Floats
) -> None:
    """One direction of a GRU layer (arXiv:1406.1078, with the reset gate behind the product, as in PyTorch).

    `given` `[T, 3·H]` are the products of the input for the gates r, z, n with all biases but that of n's state;
    `weights` `[H, 3·H]` those of the state, `bias` `[H]` n's; `h` `[H]`, zeros, and `gates` `[3·H]` are scratch;
    `output` is `[T, H]`.
    """
    size, steps = len(h), len(given)
    for step in range(steps):
        t = steps - 1 - step if backward else step
        gates[:] = ZERO
        for k in range(0, size, 4):
            h0, h1, h2, h3 = h[k], h[k + 1], h[k + 2], h[k + 3]
            w0, w1, w2, w3 = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
            for j in range(3 * size):
                gates[j] += h0 * w0[j] + h1 * w1[j] + h2 * w2[j] + h3 * w3[j]
        row = given[t]
        for j in range(size):
            reset = ONE / (ONE + np.exp(-(row[j] + gates[j])))
            keep = ONE / (ONE + np.exp(-(row[size + j] + gates[size + j])))
            new = np.tanh(row[2 * size + j] + reset * (gates[2 * size + j] + bias[j]))
            h[j] = (ONE - keep) * new + keep * h[j]
        output[t] = h


class Direction:
    """One direction of one layer."""

    def __init__(self, gru: nn.GRU, suffix: str) -> None:
        weights: dict[str, Tensor] = {name: getattr(gru, f"{name}_{suffix}") for name in _NAMES}
        self._size = gru.hidden_size
        gates = 2 * self._size
        given = weights["bias_ih"].clone()
        given[:gates] += weights["bias_hh"][:gates]
        self.input_weights, self.input_bias = weights["weight_ih"], given
        self._weights = np.ascontiguousarray(weights["weight_hh"].T.numpy())
        self._bias = weights["bias_hh"][gates:].clone().numpy()
        self._backward = int(suffix.endswith("reverse"))

    def run(self, given: Floats, output: Floats) -> None:
        """Products of the input `[T, 3·H]` → states `[T, H]`."""
        state, gates = np.zeros(self._size, np.float32), np.empty(3 * self._size, np.float32)
        recur(given, self._weights, self._bias, self._backward, state, gates, output)


_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Recurrence(nn.Module):
    """A folded `NormedGRU`."""

    def __init__(self, block: NormedGRU, team: Team) -> None:
        super().__init__()
        layers = range(block.gru.num_layers)
        self._layers = [[Direction(block.gru, f"l{n}"), Direction(block.gru, f"l{n}_reverse")] for n in layers]
        self._team = team

    def forward(self, x: Tensor) -> Tensor:
        """`[B, 1, T, 512]` → the same shape."""
        y = x[:, 0]
        for layer in self._layers:
            y = self._run(layer, y)
        return y[:, None]

    def _run(self, layer: list[Direction], x: Tensor) -> Tensor:
        given = [functional.linear(x, each.input_weights, each.input_bias).numpy() for each in layer]
        outputs = [np.empty((*each.shape[:2], each.shape[2] // 3), np.float32) for each in given]

        def work(part: int, _: int) -> None:
            item, side = divmod(part, 2)
            layer[side].run(given[side][item], outputs[side][item])

        self._team.share(2 * x.shape[0], work)
        return torch.cat([torch.from_numpy(each) for each in outputs], dim=2)


def quick_denoiser(denoiser: nn.Sequential, team: Team) -> nn.Sequential:
    """The folded denoiser with its GRUs replaced."""
    steps: list[Any] = [Recurrence(step, team) if isinstance(step, NormedGRU) else step for step in denoiser]
    return nn.Sequential(*steps).eval()
