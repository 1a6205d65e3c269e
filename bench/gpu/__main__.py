"""The voicefixer package and our precisions on one GPU.

``python -m bench.gpu`` prints real-time factors at batch 1, 4, 16 and 32, the share of the measured matrix peak,
memory and the SNR of every stage against fp32, then a line of JSON. It exits 1 where bf16 is slower than 1,000 times
real time on an H200-class card or than 5 times the package, or fp32 is not equal to PyTorch on the CPU to 100 dB; and
2 where there is no CUDA device. What does not fit into ``--budget`` seconds is left out, and said.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from bench.gpu.ours import Models, Stages, free, load, measure, measure_engine, peak, plain_stages, stages_of
from bench.gpu.package import package_factor
from bench.measures import snr
from bench.weights import ensure_weights
from worker.chunks import Geometry
from worker.models.interface import Precision

LEAST_FACTOR = 1000.0
LEAST_TIMES = 5.0
LEAST_DB = 100.0
H200_CLASS = 500.0
"""TFLOP/s in bf16, measured, from which on a card is held to `LEAST_FACTOR`."""
GFLOP = 118.3
"""Of one second of audio, in all networks, without context and halo."""
STAGES = ("mel", "denoiser", "unet", "vocoder", "chain")
ORDER: tuple[Precision, ...] = ("bf16", "tf32", "fp16", "fp32")
"""The first matters most, should time run out."""


@dataclass
class Found:
    """What was measured."""

    device: str
    peaks: dict[str, float] = field(default_factory=dict)
    cells: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    engine: dict[str, float] = field(default_factory=dict)
    snr: dict[str, dict[str, float]] = field(default_factory=dict)
    equal: dict[str, float] = field(default_factory=dict)
    package: float = 0.0
    notes: list[str] = field(default_factory=list)

    def best(self, precision: str) -> float:
        """The highest real-time factor, by itself or through the engine."""
        factors = [cell["factor"] for cell in self.cells.get(precision, [])]
        return max([*factors, self.engine.get(precision, 0.0)], default=0.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    asked = _parser().parse_args(arguments)
    if not torch.cuda.is_available():
        print("bench.gpu: torch sees no CUDA device here; nothing was measured.")
        return 2
    found = run(asked, torch.device("cuda"), Geometry(core=3008, context=640, halo=580))
    show(found)
    missed = shortfalls(found)
    print(json.dumps({"bench": "gpu", **asdict(found), "missed": missed, "passed": not missed}))
    return 1 if missed else 0


def run(asked: argparse.Namespace, device: torch.device, geometry: Geometry) -> Found:
    """Measure everything that the budget allows, the most important first."""
    end = time.monotonic() + asked.budget
    found = Found(torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu")
    weights = asked.weights or ensure_weights(Path("build/random-weights-seed0"), 0)
    for precision in ORDER:
        found.peaks[precision] = round(peak(device, precision, size=asked.matrix), 4)
    _say("fp32 against PyTorch on the CPU")
    exact = load(weights, str(device), "fp32", geometry)
    reference = stages_of(exact, None, asked.seconds)
    found.equal = _snr(plain_stages(weights, asked.seconds), reference)
    free(exact)
    for precision in ORDER:
        _one_precision(found, load(weights, str(device), precision, geometry), reference, asked, end)
        if precision == ORDER[0]:
            _say("package")
            found.package, why = package_factor(weights, limit=max(10.0, min(120.0, end - time.monotonic())))
            found.notes += [f"package not measured: {why}"] if why else []
    return found


def _one_precision(found: Found, models: Models, reference: Stages, asked: argparse.Namespace, end: float) -> None:
    precision = models.backend.precision
    found.snr[precision] = _snr(reference, stages_of(models, reference, asked.seconds))
    found.cells[precision] = []
    for batch in asked.batches:
        if time.monotonic() > end:
            found.notes.append(f"{precision} at batch {batch}: no time left")
            continue
        _say(f"{precision} at batch {batch}")
        try:
            found.cells[precision].append(
                {name: round(figure, 4) for name, figure in vars(measure(models, batch)).items()}
            )
        except Exception as error:
            found.notes.append(f"{precision} at batch {batch}: {type(error).__name__}: {str(error)[:200]}")
    if found.cells[precision] and time.monotonic() < end:
        best = max(found.cells[precision], key=lambda cell: cell["factor"])
        found.engine[precision] = round(measure_engine(models, int(best["batch"])), 1)
    free(models)


def shortfalls(found: Found) -> list[str]:
    """What a required figure is missed by; empty if all are reached."""
    missed = [f"fp32 {stage} {db} dB" for stage, db in found.equal.items() if db < LEAST_DB]
    best = found.best("bf16")
    if found.peaks.get("bf16", 0.0) >= H200_CLASS and best < LEAST_FACTOR:
        missed.append(f"bf16 {best:.0f}× real time, not {LEAST_FACTOR:.0f}×")
    if best < LEAST_TIMES * found.package or not found.package:
        missed.append(f"bf16 {best:.0f}× against the package's {found.package:.0f}×, not {LEAST_TIMES:.0f} times it")
    return missed


def show(found: Found) -> None:
    """Print the tables."""
    print(f"\n{found.device}; package {found.package:.1f}× real time")
    print("precision  batch  restore ms  vocode ms  real time  times package  of peak  memory GiB")
    for precision, cells in found.cells.items():
        for cell in cells:
            times = cell["factor"] / found.package if found.package else float("nan")
            share = cell["factor"] * GFLOP / 1000 / found.peaks[precision]
            print(
                f"{precision:9s}  {cell['batch']:5.0f}  {1e3 * cell['restore']:10.1f}  {1e3 * cell['vocode']:9.1f}"
                f"  {cell['factor']:8.1f}×  {times:12.1f}×  {100 * share:6.1f}%  {cell['memory']:10.1f}"
            )
        print(f"{precision:9s}  through the engine, two batches at once: {found.engine.get(precision, 0.0):.1f}×")
    print("\nmatrix peak, TFLOP/s: " + ", ".join(f"{name} {rate:.1f}" for name, rate in found.peaks.items()))
    print("\nSNR, dB    " + "  ".join(f"{stage:>8s}" for stage in STAGES))
    for name, row in {"fp32 / CPU": found.equal, **found.snr}.items():
        print(f"{name:10s} " + "  ".join(f"{row[stage]:8.1f}" for stage in STAGES))
    print("\n".join(["", *found.notes]))


def _snr(reference: Stages, made: Stages) -> dict[str, float]:
    return {stage: round(min(snr(reference[stage].numpy(), made[stage].numpy()), 400.0), 1) for stage in STAGES}


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--weights", type=Path, help="a folder with the two files (default: random weights)")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 1, 4, 32], help="in the order of measuring")
    parser.add_argument("--budget", type=float, default=400.0, help="seconds after which no figure is begun")
    parser.add_argument("--seconds", type=float, default=4.0, help="of the signal whose SNR is told")
    parser.add_argument("--matrix", type=int, default=8192, help="size of the product that measures the peak")
    return parser


if __name__ == "__main__":
    sys.exit(main())
