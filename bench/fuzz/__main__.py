"""A fuzz of the decoders and of the door: no crash, no hang, no leak, bounded memory.

``python -m bench.fuzz [--minutes 10] [--seed N]`` spends half of the time on each. Damaged recordings of every
container go to the decoders in a child process, which may die; damaged requests go to an API process with a Redis and
a folder of its own. It prints figures and exits 1 where there is a finding, whose input it keeps.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench.fuzz.decoders import fuzz_decoders
from bench.fuzz.door import fuzz_door
from bench.fuzz.tally import Tally

_MINUTE = 60


def main(arguments: list[str] | None = None) -> int:
    """Run the fuzz; gives the exit status."""
    asked = _parser().parse_args(arguments)
    targets = ("decoders", "door") if asked.only is None else (asked.only,)
    seconds = asked.minutes * _MINUTE / len(targets)
    tallies = []
    for target in targets:
        if target == "decoders":
            tally = fuzz_decoders(seconds, asked.seed, asked.keep)
        else:
            with tempfile.TemporaryDirectory(prefix="vfq-fuzz-") as data:
                tally = fuzz_door(seconds, asked.seed, asked.keep, Path(data))
        _print(tally)
        tallies.append(tally)
    good = not any(tally.findings for tally in tallies)
    print(json.dumps({"bench": "fuzz", "seed": asked.seed, "minutes": asked.minutes, "passed": good}))
    return 0 if good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="in all; 10 by default")
    parser.add_argument("--seed", type=int, default=0, help="of the damage; the same again gives the same inputs")
    parser.add_argument("--only", choices=("decoders", "door"), help="one of the two, for the whole time")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for inputs that found something")
    return parser


def _print(tally: Tally) -> None:
    print(json.dumps(tally.summary(), indent=2, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    sys.exit(main())
