"""Our models against the voicefixer package, stage by stage: `python -m bench.parity [--seconds S] [--seed N]`.

Both load the same two files from disk. Each stage of ours gets what the package's stage got, and the whole chain
the samples alone. Signals are compared in float, before any rounding to 16 bit. Exit 1 below 100 dB anywhere.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench.reference import Signal, Stages, run_reference
from bench.signals import speech_like
from bench.weights import ensure_weights
from worker.models.constants import HOP, SAMPLE_RATE
from worker.models.frontend import centre_pad
from worker.models.hub import WeightsSource
from worker.models.registry import load_restorer, load_vocoder
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


def run(weights: Path, *, seconds: float = 1.0, seed: int = 0) -> list[Row]:
    """Compare every stage at several lengths, of both parities of N//441 and with ragged ends."""
    lengths = [_length(scale * seconds, parity, rest) for scale, parity, rest in SHAPES]
    signals = [Signal(speech_like(length, seed + 100 + n)) for n, length in enumerate(lengths)]
    references = run_reference(weights, signals)
    restorer, vocoder = load_models(weights)
    return [compare(signal, stages, restorer, vocoder) for signal, stages in zip(signals, references, strict=True)]


def load_models(weights: Path) -> tuple[VoiceFixerRestorer, VoiceFixerVocoder]:
    """Our two models from a folder of any weights."""
    source = WeightsSource(folder=weights, repositories=(), allow_other=True)
    restorer = cast(VoiceFixerRestorer, load_restorer("VoiceFixerRestorer", weights=source))
    return restorer, cast(VoiceFixerVocoder, load_vocoder("VoiceFixerVocoder", weights=source))


@torch.inference_mode()
def compare(signal: Signal, reference: Stages, restorer: VoiceFixerRestorer, vocoder: VoiceFixerVocoder) -> Row:
    """The SNR of each of our stages, given what the package's stage was given."""
    audio, samples = torch.from_numpy(signal.audio)[None, None], len(signal.audio)
    given = {name: torch.from_numpy(getattr(reference, name)) for name in ("mel", "clean", "restored")}
    restored = restorer.forward(audio, mode=signal.mode, seed=signal.seed)
    snr = {
        "mel": snr_db(reference.mel, restorer.front_end(centre_pad(audio[:, 0]))),
        "denoiser": snr_db(reference.clean, restorer.runner.denoise(given["mel"])),
        "unet": snr_db(reference.residual, restorer.runner.refine(given["mel"], given["clean"])),
        "vocoder": snr_db(reference.audio, vocoder.forward(given["restored"], samples).flatten()),
        "chain": snr_db(reference.audio, vocoder.forward(restored, samples).flatten()),
    }
    return Row(samples, samples // HOP, snr)


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


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table(title="SNR against the voicefixer package, dB (fp32)")
    for column in ("samples", "N//441", *STAGES):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(str(row.samples), str(row.frames), *(f"{row.snr[stage]:.1f}" for stage in STAGES))
    Console().print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and one line of JSON; 0 if every figure reaches the threshold, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="scales the lengths (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the signals and the random weights")
    parser.add_argument("--weights", type=Path, help="a folder with the two files (default: random weights)")
    options = parser.parse_args(arguments)
    weights = options.weights or ensure_weights(Path(f"build/random-weights-seed{options.seed}"), options.seed)
    rows = run(weights, seconds=options.seconds, seed=options.seed)
    show(rows)
    lowest = min(min(row.snr.values()) for row in rows)
    passed = lowest >= THRESHOLD_DB
    summary = {
        "bench": "parity",
        "weights": str(weights),
        "random_weights": options.weights is None,
        "threshold_db": THRESHOLD_DB,
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
