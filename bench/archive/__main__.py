"""Does an archive come through, whatever kills the command?

``python -m bench.archive`` restores a thousand short files and twenty broken ones with `voicefixer-queue archive`, on a
service whose networks cost nothing, and kills the command by SIGKILL three times on the way; each run goes on with
--resume. Meanwhile an interactive job comes in every two seconds. It prints what it cost, and exits 1 where a good file
was not restored exactly once, with the checksum that it has by itself, where a broken one has no reason, where the
command did not end with status 2, or where an interactive job waited for more than two seconds.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from bench.archive.trial import Trial, try_out

MOST_WAIT_SECONDS = 2.0


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.archive", description=__doc__)
    parser.add_argument("--files", type=int, default=1000, help="good recordings")
    parser.add_argument("--broken", type=int, default=20, help="broken ones")
    parser.add_argument("--kills", type=int, default=3, help="of the command")
    parser.add_argument("--jobs", type=int, default=8, help="files on their way at once")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="vfq-archive-") as folder:
        trial = try_out(Path(folder), asked.files, asked.broken, asked.kills, asked.jobs)
    problems = list(trial.problems)
    if trial.status != 2:
        problems.append(f"the command ended with status {trial.status}")
    worst = max(trial.seen.waits, default=0.0)
    if worst > MOST_WAIT_SECONDS or not trial.seen.waits:
        problems.append(f"an interactive job waited for {worst:.2f} s ({len(trial.seen.waits)} came in)")
    print("\n".join(f"not as required: {one}" for one in problems) or "all as required")
    print(json.dumps({"bench": "archive", **vars(asked), **figures(trial), "passed": not problems}))
    return 1 if problems else 0


def figures(trial: Trial) -> dict[str, object]:
    """What it cost."""
    seen = trial.seen
    waits = seen.waits or [0.0]
    return {
        "exit_status": trial.status,
        "restored": trial.restored,
        "failed": trial.failed,
        "errors": trial.errors,
        "jobs_made": trial.jobs,
        "seconds": round(sum(trial.seconds), 1),
        "ms_per_file": round(1000 * sum(trial.seconds) / max(1, trial.restored + trial.failed), 1),
        "resume_unchanged_seconds": round(trial.idle_seconds, 2),
        "redis_peak_bytes": seen.memory,
        "redis_bytes_per_job": round((seen.memory - seen.memory_before) / max(1, trial.jobs)),
        "most_messages_queued": seen.queue,
        "interactive_jobs": len(seen.waits),
        "interactive_wait_median": round(statistics.median(waits), 3),
        "interactive_wait_worst": round(max(waits), 3),
    }


if __name__ == "__main__":
    sys.exit(main())
