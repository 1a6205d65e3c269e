"""The restorer's denoiser: its GRUs step by step in compiled loops, both directions at once."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.backends.numba.cpu.arena import aligned, aligned_copy
from worker.backends.numba.cpu.compiling import Floats, compiled
from worker.backends.numba.cpu.team import Team
from worker.backends.numba.cpu.vectors import ADDRESS, LANES, NUMBER, SIZE, Address, Code, Vector, emitted
from worker.models.denoiser import NormedGRU

WIDE = 8 * LANES
"""Gates that are summed up at once: as many sums as keep the processor busy."""


@emitted(NUMBER, ADDRESS, ADDRESS, ADDRESS)
def _sum_gates(code: Code, size: Address, h: Address, weights: Address, gates: Address) -> None:
    """gates = h·weights for `WIDE` gates; the weights of a state's value lie side by side."""
    sums = [code.variable(code.constant(0)) for _ in range(WIDE // LANES)]
    with code.count(size) as k:
        value, row = code.spread(code.at(h, (k, SIZE))), code.at(weights, (k, WIDE * SIZE))
        for number, total in enumerate(sums):
            code.fetch(code.at(row, (_AHEAD + number * LANES, SIZE)), near=True)
            total.set(code.multiply_add(value, code.load(row, number), total.get()))
    for number, total in enumerate(sums):
        code.store(total.get(), gates, number)


_AHEAD = 16 * WIDE
"""Weights that are fetched ahead."""


def _exp(code: Code, x: Vector) -> Vector:
    """e to the x, to two units of the last place: Cephes's expf."""
    x = x.at_least(code.constant(-87.0)).at_most(code.constant(88.0))
    turns = (x * 1.44269504088896341).rounded()
    r = x - turns * 0.693359375 - turns * -2.12194440e-4
    series = code.constant(1.9875691500e-4)
    for factor in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        series = series * r + code.constant(factor)
    return (series * r * r + r + code.constant(1)) * turns.power_of_two()


def _sigmoid(code: Code, x: Vector) -> Vector:
    one = code.constant(1)
    return one / (one + _exp(code, x * -1.0))


@emitted(NUMBER, *[ADDRESS] * 5)
def _step(code: Code, size: Address, given: Address, gates: Address, bias: Address, h: Address,
          output: Address) -> None:  # fmt: skip
    """The gates r, z, n, and the next state."""
    with code.count(size, LANES) as j:
        at = (j, SIZE)
        parts = [[code.load(code.at(base, at, (size, SIZE * n))) for n in range(3)] for base in (given, gates)]
        (given_r, given_z, given_n), (state_r, state_z, state_n) = parts
        reset, keep = _sigmoid(code, given_r + state_r), _sigmoid(code, given_z + state_z)
        inner = given_n + reset * (state_n + code.load(code.at(bias, at)))
        new = _sigmoid(code, inner * 2.0) * 2.0 - code.constant(1)  # the hyperbolic tangent
        before = code.load(code.at(h, at))
        after = new + keep * (before - new)
        code.store(after, code.at(h, at))
        code.store(after, code.at(output, at))


@compiled()
def recur(
    given: Floats, weights: Floats, bias: Floats, backward: int, h: Floats, gates: Floats, output: Floats
) -> None:
    """One direction of a GRU layer (arXiv:1406.1078, with the reset gate behind the product, as in PyTorch).

    `given` `[T, 3·H]` are the products of the input for the gates r, z, n with all biases but that of n's state;
    `weights` `[3·H / WIDE, H, WIDE]` those of the state, `bias` `[H]` n's; `h` `[H]`, zeros, and `gates` `[3·H]` are
    scratch; `output` is `[T, H]`.
    """
    size, steps = len(h), len(given)
    for step in range(steps):
        t = steps - 1 - step if backward else step
        for part in range(len(weights)):
            _sum_gates(size, h.ctypes.data, weights[part].ctypes.data, gates[part * WIDE :].ctypes.data)
        _step(
            size, given[t].ctypes.data, gates.ctypes.data, bias.ctypes.data, h.ctypes.data, output[t].ctypes.data
        )  # fmt: skip


class Direction:
    """One direction of one layer."""

    def __init__(self, gru: nn.GRU, suffix: str) -> None:
        weights: dict[str, Tensor] = {name: getattr(gru, f"{name}_{suffix}") for name in _NAMES}
        self._size = gru.hidden_size
        gates = 2 * self._size
        given = weights["bias_ih"].clone()
        given[:gates] += weights["bias_hh"][:gates]
        self.input_weights, self.input_bias = weights["weight_ih"], given
        by_parts = weights["weight_hh"].numpy().reshape(-1, WIDE, self._size)
        self._weights = aligned_copy(by_parts.transpose(0, 2, 1))
        self._bias = aligned_copy(weights["bias_hh"][gates:].numpy())
        self._backward = int(suffix.endswith("reverse"))

    def run(self, given: Floats, output: Floats) -> None:
        """Products of the input `[T, 3·H]` → states `[T, H]`."""
        state, gates = aligned(self._size), aligned(3 * self._size)
        state[:] = 0
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
        outputs = [aligned(*each.shape[:2], each.shape[2] // 3) for each in given]

        def work(part: int, _: int) -> None:
            item, side = divmod(part, 2)
            layer[side].run(given[side][item], outputs[side][item])

        self._team.share(2 * x.shape[0], work)
        return torch.cat([torch.from_numpy(each) for each in outputs], dim=2)


def quick_denoiser(denoiser: nn.Sequential, team: Team) -> nn.Sequential:
    """The folded denoiser with its GRUs replaced."""
    steps: list[Any] = [Recurrence(step, team) if isinstance(step, NormedGRU) else step for step in denoiser]
    return nn.Sequential(*steps).eval()
