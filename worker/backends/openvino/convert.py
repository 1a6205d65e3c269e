"""Turns a part of a network into OpenVINO's own form, its weights in full precision."""

import logging
import warnings
from threading import Lock

import torch
from torch import nn

from worker.backends.openvino.library import ov
from worker.backends.openvino.parts import Input, Part

VERSION = 1
"""Goes up when the same weights are to be converted anew: other parts, other layers."""

log = logging.getLogger(__name__)

# PyTorch's tracer and Python's filter of warnings are the process's own.
_one_at_a_time = Lock()


def convert(part: Part, network: nn.Module) -> ov.Model:
    """Convert for any batch and any length of time; channels and mel bins are fixed.

    The model may share the network's tensors, so it is to be written, or the network kept, before they change.
    """
    examples = tuple(torch.zeros(_shape(taken, items=1, units=64)) for taken in part.takes)
    shapes = [ov.PartialShape(_shape(taken, items=-1, units=-1)) for taken in part.takes]
    # Tracing needs tensors that autograd could record, and warns of what is constant by design.
    with _one_at_a_time, torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ov.convert_model(network.eval(), example_input=examples, input=shapes)
    log.debug("converted %s", part.name)
    return model


def _shape(taken: Input, *, items: int, units: int) -> list[int]:
    time = units * taken.factor if units > 0 else -1
    return [items, taken.channels, time] + ([taken.bands] if taken.bands else [])
