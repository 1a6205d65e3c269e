"""Are chunks seamless? The chunked chain against one pass over the whole file, seam by seam.

``python -m bench.seams [--core-frames F] [--seconds S] [--backend B]`` prints the signal-to-noise ratio of the chunked
result in the second around every seam, for the vocoder alone (both sides get the same mel) and for the whole chain at
the default context, then what other contexts cost and what error they leave. It exits 1 where a seam, or the whole
file, is below 100 dB in fp32 (of other precisions the figures are told), and 2 where the signal is too short to have a
seam or the backend is not here.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from bench.chunked import ChunkedChain, Floats
from bench.measures import snr
from bench.models import EXACT, add_backend_options, load_models
from bench.signals import speech_like
from bench.weights import ensure_weights
from shared.settings import Settings
from worker.chunks import Geometry
from worker.models.constants import GRID, HOP, SAMPLE_RATE
from worker.models.errors import ModelError
from worker.models.interface import Restorer, Vocoder
from worker.models.restorer import VoiceFixerRestorer
from worker.models.vocoder import VoiceFixerVocoder

LEAST_DB = 100.0
DEFAULT_SECONDS = 22.0
DEFAULT_CORE = 11 * GRID
#: Contexts that the table compares, in frames of 10 ms.
CONTEXTS = (0, 128, 256, 448, 640)


@dataclass(frozen=True)
class Seam:
    """One seam: where it is, and how near the chunked result is to the whole-file pass around it."""

    seconds: float
    vocoder_db: float
    chain_db: float


@dataclass(frozen=True)
class Trade:
    """What a context costs and what it leaves at the worst seam."""

    context_seconds: float
    on_grid: bool
    mel_error: float
    chain_db: float
    restorer_cost: float


@dataclass(frozen=True)
class Whole:
    """The whole-file pass: what every chunked result is held against."""

    audio: Floats
    mel: Floats
    output: Floats


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    asked = _parse(arguments)
    settings = Settings()
    geometry = Geometry(asked.core_frames, settings.context_frames, settings.halo_frames)
    weights = Path(asked.weights) if asked.weights else ensure_weights(Path("build/random-weights-seed0"))
    try:
        restorer, vocoder = load_models(weights, backend=asked.backend, precision=asked.precision)
    except ModelError as error:
        print(error, file=sys.stderr)
        return 2
    audio = speech_like(round(asked.seconds * SAMPLE_RATE), 1)
    with tempfile.TemporaryDirectory() as folder:
        chain = ChunkedChain(Path(folder), audio, geometry)
        if len(chain.windows) < 2:
            least = (geometry.core + geometry.context) / 100
            print(f"{asked.seconds:g} s is one window and has no seam; ask for more than {least:g} s", file=sys.stderr)
            return 2
        print(
            f"{asked.seconds:g} s in {len(chain.windows)} windows: core {geometry.core} frames, "
            f"context {geometry.context}, halo {geometry.halo}; {torch.get_num_threads()} threads; "
            f"backend {restorer.backend.name} in {asked.precision}; weights {weights}",
            flush=True,
        )
        whole = _whole(audio, restorer, vocoder)
        seams, file_db = _seams(chain, whole, restorer, vocoder)
        _print_seams(seams, file_db)
        trades = _trades(Path(folder), whole, geometry, restorer, vocoder)
    _print_trades(trades)
    required = LEAST_DB if asked.precision == EXACT else None
    good = required is None or min(file_db, *(min(seam.vocoder_db, seam.chain_db) for seam in seams)) >= required
    told = {"bench": "seams", "backend": restorer.backend.name, "precision": asked.precision, "required_db": required}
    print(json.dumps(told | _summary(seams, file_db, trades) | {"passed": good}))
    return 0 if good else 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.seams", description=__doc__)
    parser.add_argument("--core-frames", type=int, default=DEFAULT_CORE, help="new frames a window; 64 divides it")
    parser.add_argument("--seconds", type=float, default=DEFAULT_SECONDS)
    parser.add_argument("--weights", help="folder with both checkpoints; seeded random ones by default")
    add_backend_options(parser)
    asked = parser.parse_args(arguments)
    if asked.core_frames < GRID or asked.core_frames % GRID:
        parser.error(f"--core-frames must be a multiple of {GRID}")
    if asked.seconds <= 0:
        parser.error("--seconds must be positive")
    return asked


def _whole(audio: Floats, restorer: VoiceFixerRestorer, vocoder: VoiceFixerVocoder) -> Whole:
    mel = restorer.forward(torch.from_numpy(audio)[None, None])
    output = vocoder.forward(mel, len(audio))
    return Whole(audio, mel[0, 0].cpu().numpy(), output[0, 0].cpu().numpy())


def _seams(chain: ChunkedChain, whole: Whole, restorer: Restorer, vocoder: Vocoder) -> tuple[list[Seam], float]:
    chain.keep(whole.mel)
    vocoded = chain.vocode(vocoder)
    chain.restore(restorer)
    chained = chain.vocode(vocoder)
    seams = [
        Seam(
            seconds=window.start / 100,
            vocoder_db=_around(whole.output, vocoded, window.start),
            chain_db=_around(whole.output, chained, window.start),
        )
        for window in chain.windows[1:]
    ]
    # The vocoder must be exact everywhere, not at its seams alone.
    return seams, min(snr(whole.output, vocoded), snr(whole.output, chained))


def _around(reference: Floats, other: Floats, frame: int) -> float:
    """SNR in the second around a frame."""
    start = max(0, frame * HOP - SAMPLE_RATE // 2)
    stop = start + SAMPLE_RATE
    return snr(reference[start:stop], other[start:stop])


def _trades(folder: Path, whole: Whole, geometry: Geometry, restorer: Restorer, vocoder: Vocoder) -> list[Trade]:
    asked = sorted({*CONTEXTS, geometry.context})
    rows = [(context, 0) for context in asked] + [(geometry.context, GRID // 2)]
    return [
        _trade(folder, whole, Geometry(geometry.core, context, geometry.halo), restorer, vocoder, off_grid)
        for context, off_grid in rows
    ]


def _trade(
    folder: Path, whole: Whole, geometry: Geometry, restorer: Restorer, vocoder: Vocoder, off_grid: int
) -> Trade:
    chain = ChunkedChain(folder, whole.audio, geometry)
    mel = chain.restore(restorer, off_grid=off_grid)
    error = np.log10(np.maximum(mel, 1e-8)) - np.log10(np.maximum(whole.mel, 1e-8))
    seams = [window.start for window in chain.windows[1:]]
    at_seam = {seam: _rms(error[max(0, seam - 50) : seam + 50]) for seam in seams}
    worst = max(at_seam, key=lambda seam: at_seam[seam])
    start, stop = max(0, worst - 50), min(len(mel) - 1, worst + 50)
    near = chain.vocode_near(vocoder, start, stop)
    seen = sum(window.seen_stop - window.seen_start for window in chain.windows)
    return Trade(
        context_seconds=geometry.context / 100,
        on_grid=off_grid == 0,
        mel_error=at_seam[worst],
        chain_db=snr(whole.output[start * HOP : stop * HOP], near),
        restorer_cost=seen / len(mel),
    )


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _print_seams(seams: list[Seam], file_db: float) -> None:
    print(f"\n{'seam at':>10} {'vocoder alone':>15} {'whole chain':>13}   SNR in the second around it, dB")
    for seam in seams:
        print(f"{seam.seconds:>8.2f} s {seam.vocoder_db:>15.1f} {seam.chain_db:>13.1f}")
    print(f"whole file: {file_db:.1f} dB\n", flush=True)


def _print_trades(trades: list[Trade]) -> None:
    print(f"{'context':>9} {'restorer computes':>18} {'mel error':>11} {'chain':>8}   worst seam; error rms in log10")
    for trade in trades:
        note = "" if trade.on_grid else f"   windows {GRID // 2} frames off the {GRID}-frame grid"
        print(
            f"{trade.context_seconds:>7.2f} s {trade.restorer_cost:>17.2f}× {trade.mel_error:>11.1e} "
            f"{trade.chain_db:>5.1f} dB{note}"
        )


def _summary(seams: list[Seam], file_db: float, trades: list[Trade]) -> dict[str, object]:
    return {
        "whole_file_db": round(file_db, 1),
        "seams": [asdict(seam) for seam in seams],
        "contexts": [asdict(trade) for trade in trades],
    }


if __name__ == "__main__":
    sys.exit(main())
