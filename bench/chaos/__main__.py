"""Does every job end, once and right, whatever dies?

``python -m bench.chaos`` runs the service as processes on a real Redis and a real S3 server, with a fault proxy before
each, and lets it do some hundred jobs while workers are killed, Redis is killed, storage is away, requests fail, bodies
are cut, and messages are dropped and doubled. It prints what became of the jobs and a line of JSON, and exits 1 where
one was lost, stuck, wrong or run twice, or where recovery, repeated work or leftovers are beyond what is required.

``--plain`` is the same without leases, reconciler and sweeper, as Celery is by itself. There it exits 0 if jobs were
lost or run twice: then the other run has proved something.
"""

import argparse
import json
import sys
from pathlib import Path

from bench.chaos.report import harmed, shortcomings, summary, table
from bench.chaos.soak import Asked, soak


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    asked = Asked(**vars(_parser().parse_args(arguments)))
    found = soak(asked)
    print(table(found))
    if asked.plain:
        good = harmed(found) > 0
        print(f"lost, stuck, wrong or run twice    {harmed(found)}")
    else:
        short = shortcomings(found)
        good = not short
        print("\n".join(f"not as required: {one}" for one in short) or "all as required")
    mode = "plain" if asked.plain else "leases"
    told = {"bench": "chaos", "mode": mode, "seed": asked.seed, "kills": asked.kills, **summary(found)}
    print(json.dumps({**told, "passed": good}))
    return 0 if good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=120, help="to be accepted")
    parser.add_argument("--kills", type=int, default=55, help="of worker processes")
    parser.add_argument("--seed", type=int, default=0, help="of the schedule and the recordings")
    parser.add_argument("--minutes", type=float, default=4.0, help="for which things go wrong")
    parser.add_argument("--plain", action="store_true", help="without leases, reconciler and sweeper")
    parser.add_argument("--folder", type=Path, help="keeps logs and data; by default they are deleted")
    return parser


if __name__ == "__main__":
    sys.exit(main())
