"""Our models against the voicefixer package, stage by stage: `python -m bench.parity [--backend B] [--precision P]`.

Both load the same two files from disk. Each stage of ours gets what the package's stage got, and the whole chain
the samples alone. Signals are compared in float, before any rounding to 16 bit. Exit 1 below 100 dB anywhere in fp32;
of the other precisions the error is told, and nothing required.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench.models import EXACT, add_backend_options, load_models
from bench.reference import Array, Signal, Stages, run_reference
from bench.signals import speech_like
from bench.weights import ensure_weights
from worker.models.constants import HOP, SAMPLE_RATE
from worker.models.errors import ModelError
from worker.models.frontend import centre_pad
from worker.models.restorer import VoiceFixerRestorer
from worker.models.vocoder import VoiceFixerVocoder

THRESHOLD_DB = 100.0
STAGES = ("mel", "denoiser", "unet", "vocoder", "chain")
SHAPES = ((1.0, 0, 0), (1.3, 1, 440), (2.0, 0, 217), (2.7, 1, 1))
"""Length in `--seconds`, parity of N//441, and what N leaves over."""


@dataclass(frozen=True)
class Row:
    """One signal: its length and the SNR of each stage against the package's, in dB."""

    samples: int
    frames: int
    snr: dict[str, float]


def run(
    weights: Path, *, seconds: float = 1.0, seed: int = 0, backend: str = "auto", precision: str = EXACT
) -> list[Row]:
    """Compare every stage at several lengths, of both parities of N//441 and with ragged ends.

    Raises `ModelError`, also where the backend, or the precision on it, is not here.
    """
    restorer, vocoder = load_models(weights, backend=backend, precision=precision)
    lengths = [_length(scale * seconds, parity, rest) for scale, parity, rest in SHAPES]
    signals = [Signal(speech_like(length, seed + 100 + n)) for n, length in enumerate(lengths)]
    references = run_reference(weights, signals)
    return [compare(signal, stages, restorer, vocoder) for signal, stages in zip(signals, references, strict=True)]


@torch.inference_mode()
def compare(signal: Signal, reference: Stages, restorer: VoiceFixerRestorer, vocoder: VoiceFixerVocoder) -> Row:
    """The SNR of each of our stages, given what the package's stage was given, and of the whole chain."""
    audio, samples = torch.from_numpy(signal.audio)[None, None], len(signal.audio)
    restored = restorer.forward(audio, mode=signal.mode, seed=signal.seed)
    chain = snr_db(reference.audio, vocoder.forward(restored, samples).flatten().cpu())
    snr = stage_snr(signal.audio, reference, restorer, vocoder) | {"chain": chain}
    return Row(samples, samples // HOP, snr)


@torch.inference_mode()
def stage_snr(
    audio: Array, reference: Stages, restorer: VoiceFixerRestorer, vocoder: VoiceFixerVocoder
) -> dict[str, float]:
    """The SNR of each of our four stages, given what the package's stage was given."""
    mel, clean, restored = (
        torch.from_numpy(array).to(restorer.device) for array in (reference.mel, reference.clean, reference.restored)
    )
    padded = centre_pad(torch.from_numpy(audio)[None]).to(restorer.device)
    found = {
        "mel": (reference.mel, restorer.front_end(padded)),
        "denoiser": (reference.clean, restorer.runner.denoise(mel)),
        "unet": (reference.residual, restorer.runner.refine(mel, clean)),
        "vocoder": (reference.audio, vocoder.forward(restored, len(audio)).flatten()),
    }
    return {name: snr_db(true, ours.cpu()) for name, (true, ours) in found.items()}


def snr_db(reference: Any, found: Any) -> float:
    """Signal-to-noise ratio of `found` as an estimate of `reference`, 10·log10(Σr² / Σ(r − f)²); 400 if equal."""
    true, estimate = np.asarray(reference, np.float64), np.asarray(found, np.float64)
    if true.shape != estimate.shape:
        raise ValueError(f"shapes differ: {true.shape} and {estimate.shape}")
    noise = float(np.sum((true - estimate) ** 2))
    return 400.0 if noise == 0.0 else float(10 * np.log10(np.sum(true**2) / noise))


def _length(seconds: float, parity: int, rest: int) -> int:
    hops = int(seconds * SAMPLE_RATE) // HOP
    return (hops + (hops + parity) % 2) * HOP + rest


def show(rows: Sequence[Row], precision: str) -> None:
    """Print the table."""
    table = Table(title=f"SNR against the voicefixer package, dB ({precision})")
    for column in ("samples", "N//441", *STAGES):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(str(row.samples), str(row.frames), *(f"{row.snr[stage]:.1f}" for stage in STAGES))
    Console().print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and one line of JSON; 0 if every figure reaches the threshold, 2 without the backend, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="scales the lengths (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the signals and the random weights")
    parser.add_argument("--weights", type=Path, help="a folder with the two files (default: random weights)")
    add_backend_options(parser)
    options = parser.parse_args(arguments)
    weights = options.weights or ensure_weights(Path(f"build/random-weights-seed{options.seed}"), options.seed)
    chosen = {"backend": options.backend, "precision": options.precision}
    try:
        rows = run(weights, seconds=options.seconds, seed=options.seed, **chosen)
    except ModelError as error:
        print(error, file=sys.stderr)
        return 2
    show(rows, options.precision)
    lowest = min(min(row.snr.values()) for row in rows)
    threshold = THRESHOLD_DB if options.precision == EXACT else None
    passed = threshold is None or lowest >= threshold
    summary = {
        "bench": "parity",
        **chosen,
        "weights": str(weights),
        "random_weights": options.weights is None,
        "threshold_db": threshold,
        "lowest_db": round(lowest, 2),
        "passed": passed,
        "rows": [{"samples": row.samples, "frames": row.frames, **_rounded(row.snr)} for row in rows],
    }
    print(json.dumps(summary))
    return 0 if passed else 1


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in values.items()}


if __name__ == "__main__":
    sys.exit(main())
