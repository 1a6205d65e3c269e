"""The vocoder's network on a CUDA device."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.backends.cuda.convolution import as_signal, convolution, reflect, upsampling
from worker.backends.cuda.graphs import Graphs
from worker.backends.cuda.stacks import Stack
from worker.models.constants import HOP
from worker.models.tfgan import CHANNELS, FACTORS, TFGAN, Plan, Range, ResidualStack, crop, plan_ranges

FRAME_GRID = 4
"""The wanted samples are widened to so many frames: where a window's begin depends on its file's length, by up to a
frame and a half, and all windows of long files are to have one shape."""
LARGEST = 2**29
"""Values in one activation of the wide late stages; beyond, items take turns. Keeps memory bounded in the batch."""


class CudaVocoder:
    """`VocoderRunner` in channels_last and one dtype; the samples are made of it in fp32."""

    def __init__(
        self,
        network: TFGAN,
        *,
        dtype: torch.dtype,
        graphs: Graphs,
        make_stack: Callable[[ResidualStack], Stack],
        largest: int = LARGEST,
    ) -> None:
        self._dtype, self._graphs, self._largest = dtype, graphs, largest
        layers = network.generator
        self._condnet = [convolution(layer, dtype) for layer in network.condnet if isinstance(layer, nn.Conv1d)]
        self._first = convolution(layers[1], dtype)
        self._up = [upsampling(cast(nn.ConvTranspose1d, layers[3 + 3 * stage].layer), dtype) for stage in range(4)]
        self._stacks = [make_stack(cast(ResidualStack, layers[4 + 3 * stage])) for stage in range(4)]
        self._last = convolution(layers[16], dtype)

    @torch.inference_mode()
    def __call__(self, condition: Tensor, wanted: Range) -> Tensor:
        """Normalised mel `[B, 128, L]` → the wanted ones of its 441·L samples, `[B, stop − start]` float32."""
        grown = grow(wanted, condition.shape[2])
        audio = self._graphs.run(("vocode", grown), lambda given: self._run(given, grown), condition)
        return crop(audio, grown[0], wanted)

    def _run(self, condition: Tensor, wanted: Range) -> Tensor:
        plan = plan_ranges(condition.shape[2], wanted)
        x = as_signal(crop(condition, 0, plan.frames), self._dtype)
        for layer in self._condnet:
            x = functional.elu(layer(x), inplace=True)
        x = self._first(reflect(x, 3))
        return self._climb(x, plan.frames[0], 0, plan, wanted)

    def _climb(self, x: Tensor, at: int, stage: int, plan: Plan, wanted: Range) -> Tensor:
        """Run the stages from `stage` on; from where a stage is too wide for all items, they go on in groups."""
        for index in range(stage, len(FACTORS)):
            group = self._items_at_once(index, plan)
            if x.shape[0] > group:
                parts = [self._climb(part, at, index, plan, wanted) for part in torch.split(x, group)]
                return torch.cat(parts)
            x = self._stage(crop(x, at, plan.enter[index]), index)
            at = plan.enter[index][0] * FACTORS[index]
            x = self._stacks[index](crop(x, at, plan.leave[index]))
            at = plan.leave[index][0]
        x = reflect(functional.leaky_relu(crop(x, at, plan.last), 0.2), 3)
        audio = torch.tanh(self._last(x)[:, 0, 0].float())
        return crop(audio, plan.last[0], wanted)

    def _stage(self, x: Tensor, index: int) -> Tensor:
        x = functional.leaky_relu(x, 0.2)
        return self._up[index](torch.sin(x).add_(x))

    def _items_at_once(self, stage: int, plan: Plan) -> int:
        start, stop = plan.leave[stage]
        return max(1, self._largest // (CHANNELS[stage + 1] * (stop - start)))


def grow(wanted: Range, frames: int) -> Range:
    """The range to whole groups of `FRAME_GRID` frames, within the window."""
    step = FRAME_GRID * HOP
    return wanted[0] // step * step, min(-(-wanted[1] // step) * step, frames * HOP)
