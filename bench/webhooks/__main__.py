"""`make webhooks`: prints what a run has shown as JSON; status 1 if anything was missed.

200 jobs that end in every way name a webhook each, and an endpoint is registered beside. An independent receiver, which
verifies with the library alone, answers half of all requests with 500, 429, a redirect, too late or not at all.
Workers and Redis are killed by SIGKILL in the middle.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench.webhooks.run import run


def main() -> None:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(prog="make webhooks", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep logs and data there")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vfq-webhooks-") as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = run(folder, jobs=asked.jobs, seed=asked.seed)
    print(json.dumps(found.as_json(), indent=2))
    sys.exit(0 if found.good else 1)


if __name__ == "__main__":
    main()
