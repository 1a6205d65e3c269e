"""Runs one compiled part over any stretch of time, tile by tile."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.backends.openvino.library import ov
from worker.backends.openvino.parts import Part
from worker.backends.openvino.tiles import Range, Tile, cut

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Stretch:
    """Values `[channels, time, …]` of one item, the first of them at unit `at` of the part that takes them."""

    values: Array
    at: int = 0

    def part(self, units: Range, factor: int) -> Array:
        """The values of some units as a batch of one, contiguous."""
        first, last = ((unit - self.at) * factor for unit in units)
        return np.ascontiguousarray(self.values[None, :, first:last])


class PartRunner:
    """A compiled part; one thread at a time may use it."""

    def __init__(self, part: Part, compiled: ov.CompiledModel) -> None:
        self.part = part
        self._compiled = compiled
        self._request = compiled.create_infer_request()

    def __call__(self, inputs: Sequence[Stretch], keep: Range, length: int) -> list[Array]:
        """Give the outputs of the units `keep`, where the data are `length` units long.

        The inputs hold `keep` and the part's reach around it, as far as there are data.
        """
        outputs: list[Array] = []
        for tile in cut(keep, length=length, reach=self.part.reach, largest=self.part.largest):
            taken = zip(inputs, self.part.takes, strict=True)
            pieces = [stretch.part(tile.take, input_.factor) for stretch, input_ in taken]
            given = self._request.infer(pieces, share_inputs=True, share_outputs=True)
            for output, factor in enumerate(self.part.gives):
                piece = given[output][0]
                if not outputs[output:]:
                    shape = (piece.shape[0], (keep[1] - keep[0]) * factor, *piece.shape[2:])
                    outputs.append(np.empty(shape, np.float32))
                _place(outputs[output], piece, tile, keep[0], factor)
        # The library keeps what a request needed until the next one: for these parts hundreds of megabytes together.
        self._compiled.release_memory()
        return outputs


def _place(output: Array, piece: Array, tile: Tile, at: int, factor: int) -> None:
    (first, last), taken = tile.keep, tile.take[0]
    output[:, (first - at) * factor : (last - at) * factor] = piece[
        :, (first - taken) * factor : (last - taken) * factor
    ]
