"""Our two models for a bench, from a folder of any weights, on the backend that it names."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from worker.backends.choose import choose_backend
from worker.models.hub import WeightsSource
from worker.models.interface import Precision
from worker.models.registry import load_restorer, load_vocoder

if TYPE_CHECKING:
    from worker.models.restorer import VoiceFixerRestorer
    from worker.models.vocoder import VoiceFixerVocoder

BACKENDS = ("auto", "torch", "numba", "openvino", "cuda")
PRECISIONS = get_args(Precision)
EXACT = "fp32"
"""The precision whose output is equal, and which alone must reach what a bench requires of equality."""


def load_models(
    weights: Path, *, backend: str = "torch", precision: str = EXACT, device: str = "auto"
) -> "tuple[VoiceFixerRestorer, VoiceFixerVocoder]":
    """Load both as a worker does. Raises `ModelError`."""
    source = WeightsSource(folder=weights, repositories=(), allow_other=True)
    chosen = choose_backend(backend, device=device, precision=cast(Precision, precision))
    restorer = load_restorer("VoiceFixerRestorer", weights=source, backend=chosen)
    vocoder = load_vocoder("VoiceFixerVocoder", weights=source, backend=chosen)
    return cast("VoiceFixerRestorer", restorer), cast("VoiceFixerVocoder", vocoder)


def add_backend_options(parser: argparse.ArgumentParser) -> None:
    """Let a bench be told the backend and the precision."""
    parser.add_argument("--backend", choices=BACKENDS, default="auto", help="library that runs our networks")
    parser.add_argument("--precision", choices=PRECISIONS, default=EXACT, help="what they compute in")
