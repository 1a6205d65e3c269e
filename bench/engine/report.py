"""What was measured as a table, as one JSON object, and as claims that hold or not."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.engine.child import STAGES
from bench.engine.measure import Measured, Side, default_geometry
from bench.engine.work import stage_flops
from worker.models.constants import SAMPLE_RATE, frame_count

GB = 1e9
ALL = (*STAGES, "chain")
NAMES = {"mel": "STFT + mel", "denoiser": "denoiser", "unet": "UNet", "vocoder": "vocoder", "chain": "whole chain"}


@dataclass(frozen=True)
class Limits:
    """What must be reached: ratios are the package's seconds over ours."""

    whole: float = 2.1
    stage: float = 1.0
    snr_db: float = 100.0
    whole_bf16: float = 3.0
    clip: float = 2.0
    peak_gb: float = 2.0
    load: float = 0.5
    windows: float = 0.20


@dataclass(frozen=True)
class Claim:
    """One figure that is required; `found` is None where it could not be measured."""

    name: str
    found: float | None
    limit: float
    at_least: bool

    @property
    def holds(self) -> bool:
        """Whether the figure is reached."""
        if self.found is None:
            return False
        return self.found >= self.limit if self.at_least else self.found <= self.limit


def ratios(package: Sequence[dict[str, float]], ours: Sequence[dict[str, float]]) -> dict[str, float]:
    """The median over the rounds of how many times faster ours is, for each stage and the chain."""
    pairs = list(zip(package, ours, strict=True))
    return {name: statistics.median(slow[name] / quick[name] for slow, quick in pairs) for name in ALL if pairs}


def claims(found: Measured, limits: Limits) -> list[Claim]:
    """Every required figure that was measured, or was asked for and could not be."""
    listed: list[Claim] = []
    if exact := found.sides.get("fp32"):
        listed += _exact_claims(found, exact, limits)
    if "bf16" in found.asked.precisions:
        half = found.sides.get("bf16")
        ratio = ratios(found.sides["package"].run, half.run)["chain"] if half else None
        listed.append(Claim("bf16: whole chain, times the package", ratio, limits.whole_bf16, at_least=True))
    return listed


def _exact_claims(found: Measured, exact: Side, limits: Limits) -> list[Claim]:
    package, parts = found.sides["package"], found.asked.parts
    faster = ratios(package.run, exact.run)
    listed = [Claim("whole chain, times the package", faster["chain"], limits.whole, at_least=True)]
    listed += [Claim(f"{NAMES[name]}, times the package", faster[name], limits.stage, at_least=True) for name in STAGES]
    listed.append(Claim("lowest SNR against the package, dB", min(exact.snr.values()), limits.snr_db, at_least=True))
    listed.append(Claim("peak memory, GB", exact.peak_bytes / GB, limits.peak_gb, at_least=False))
    if "load" in parts:
        share = statistics.median(one / other for one, other in zip(exact.load, package.load, strict=True))
        listed.append(Claim("load, share of the package's", share, limits.load, at_least=False))
    if "clip" in parts:
        clip = ratios(package.clip, exact.clip)["chain"]
        name = f"{found.asked.clip:g} s clip, times the package"
        listed.append(Claim(name, clip, limits.clip, at_least=True))
    if "windows" in parts:
        listed.append(Claim("halo and context, share of one window", window_cost(found, exact), limits.windows, False))
    return listed


def window_cost(found: Measured, side: Side) -> float:
    """What an inner window costs a new frame, over the recording in one window, less one; median over rounds."""
    core, frames = default_geometry()["core"], frame_count(round(found.asked.seconds * SAMPLE_RATE))
    pairs = zip(side.window, side.run, strict=True)
    return statistics.median(window["chain"] / core / (run["chain"] / frames) for window, run in pairs) - 1


def show(found: Measured, checked: Sequence[Claim]) -> None:
    """Print the tables."""
    asked, package = found.asked, found.sides["package"]
    flops = stage_flops(round(asked.seconds * SAMPLE_RATE))
    for name, side in found.sides.items():
        if name != "package":
            _show_stages(found, name, package, side, flops)
    _show_rest(found)
    for precision, reason in found.refused.items():
        print(f"{precision}: {reason}")
    print(f"\n{'required':<46} {'limit':>8} {'found':>8}")
    for claim in checked:
        sign, value = "≥" if claim.at_least else "≤", "none" if claim.found is None else f"{claim.found:.2f}"
        print(f"{claim.name:<46} {sign} {claim.limit:>6g} {value:>8}{'' if claim.holds else '   NOT REACHED'}")


def _show_stages(found: Measured, name: str, package: Side, side: Side, flops: dict[str, float]) -> None:
    asked, peak = found.asked, found.peaks.get(name)
    of_peak = f"peak of matrix products {peak / 1e9:.0f} GFLOP/s" if peak else "no peak known"
    print(
        f"\nours in {name}, backend {side.about['backend']}, against the package: {asked.seconds:g} s, "
        f"{asked.threads} threads, median of {asked.rounds} rounds; {of_peak}"
    )
    print(
        f"{'stage':<12} {'package s':>10} {'ours s':>8} {'ratio':>7} {'SNR dB':>7} {'× real time':>12} {'GFLOP/s':>8} "
        f"{'of peak':>8}"
    )
    faster = ratios(package.run, side.run)
    for stage in ALL:
        slow, quick = _median(package.run, stage), _median(side.run, stage)
        rate = flops[stage] / quick
        share = f"{rate / peak:>8.0%}" if peak else f"{'–':>8}"
        print(
            f"{NAMES[stage]:<12} {slow:>10.2f} {quick:>8.2f} {faster[stage]:>6.2f}× {side.snr[stage]:>7.1f} "
            f"{asked.seconds / quick:>12.2f} {rate / 1e9:>8.1f} {share}"
        )


def _show_rest(found: Measured) -> None:
    columns = list(found.sides)
    print(f"\n{'':<34}" + "".join(f"{name:>10}" for name in columns))
    for label, figures in _rest(found).items():
        shown = ("–" if figures.get(name) is None else f"{figures[name]:.2f}" for name in columns)
        print(f"{label:<34}" + "".join(f"{one:>10}" for one in shown))


def _rest(found: Measured) -> dict[str, dict[str, float | None]]:
    """The rows of the second table: label → process → figure."""
    sides, clip = found.sides, f"{found.asked.clip:g} s clip"

    def row(figure: Any) -> dict[str, float | None]:
        return {name: figure(side) for name, side in sides.items()}

    return {
        "start to ready, s": row(lambda side: statistics.median(side.load)),
        "  of these, loading the models": row(lambda side: statistics.median(side.build)),
        f"start to first result ({clip}), s": row(lambda side: side.first),
        f"{clip}, s": row(lambda side: _median(side.clip, "chain") if side.clip else None),
        "peak memory, GB": row(lambda side: side.peak_bytes / GB),
        "  with a window of default size": row(lambda side: side.window_peak_bytes / GB or None),
        "halo and context, share": row(lambda side: window_cost(found, side) if side.window else None),
    }


def summary(found: Measured, checked: Sequence[Claim]) -> dict[str, Any]:
    """All of it for machines."""
    package = found.sides["package"]
    return {
        "bench": "engine",
        "asked": asdict(found.asked) | {"weights": str(found.asked.weights)},
        "gflop": {name: round(value / 1e9, 2) for name, value in stage_flops_of(found).items()},
        "peak_gflops": {name: round(value / 1e9, 1) for name, value in found.peaks.items()},
        "sides": {name: asdict(side) for name, side in found.sides.items()},
        "ratios": {name: ratios(package.run, side.run) for name, side in found.sides.items() if name != "package"},
        "refused": found.refused,
        "required": [{**asdict(claim), "holds": claim.holds} for claim in checked],
        "passed": all(claim.holds for claim in checked),
    }


def stage_flops_of(found: Measured) -> dict[str, float]:
    """What each stage of the measured recording takes to compute."""
    return stage_flops(round(found.asked.seconds * SAMPLE_RATE))


def _median(runs: Sequence[dict[str, float]], stage: str) -> float:
    return statistics.median(run[stage] for run in runs)
