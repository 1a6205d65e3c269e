"""Our engine against the voicefixer package on a CPU: same weights, same recording, in processes of their own in turn.

``python -m bench.engine`` prints seconds, ratios and signal-to-noise ratios of each stage and of the whole chain,
memory, load times, a short clip, and what halo and context cost; the last line is JSON. It exits 1 where a required
figure is not reached, and 2 where the backend is not here.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.engine.measure import PARTS, Asked, measure
from bench.engine.process import RefusedError
from bench.engine.report import Limits, claims, show, summary
from bench.engine.work import has_bf16
from bench.models import BACKENDS
from bench.weights import ensure_weights

LIMITS = Limits()
ON_CPU = tuple(name for name in BACKENDS if name != "cuda")
LONGEST = 30.0
"""Seconds that the package takes in one piece."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    asked = _parse(arguments)
    print(
        f"{asked.seconds:g} s of speech-like audio, {asked.threads} threads each, {asked.rounds} rounds, "
        f"weights {asked.weights}",
        flush=True,
    )
    try:
        found = measure(asked, lambda text: print(text, flush=True))
    except RefusedError as error:
        print(error, file=sys.stderr)
        return 2
    checked = claims(found, LIMITS)
    show(found, checked)
    told = summary(found, checked)
    print(json.dumps(told))
    return 0 if told["passed"] else 1


def _parse(arguments: Sequence[str] | None) -> Asked:
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of the recording, 30 at most")
    parser.add_argument("--clip", type=float, default=2.0, help="seconds of the short clip")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the signal and the random weights")
    parser.add_argument("--weights", type=Path, help="folder with the two files; by default random ones")
    parser.add_argument("--backend", choices=ON_CPU, default="auto")
    parser.add_argument(
        "--precision", choices=("fp32", "bf16"), nargs="+", help="by default fp32, and bf16 if the CPU has it"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each side")
    parser.add_argument("--only", choices=("stages", *PARTS), nargs="+", help="leave the other parts out")
    given = parser.parse_args(arguments)
    if not 0 < given.seconds <= LONGEST:
        parser.error("--seconds must be above 0 and at most 30: the package cuts there")
    if min(given.rounds, given.threads) < 1 or not 0 < given.clip <= LONGEST:
        parser.error("--rounds, --threads and --clip must be positive, --clip at most 30")
    return Asked(
        weights=given.weights or ensure_weights(Path(f"build/random-weights-seed{given.seed}"), given.seed),
        seconds=given.seconds,
        clip=given.clip,
        rounds=given.rounds,
        seed=given.seed,
        backend=given.backend,
        precisions=tuple(given.precision or (("fp32", "bf16") if has_bf16() else ("fp32",))),
        threads=given.threads,
        parts=tuple(part for part in PARTS if given.only is None or part in given.only),
    )


if __name__ == "__main__":
    sys.exit(main())
