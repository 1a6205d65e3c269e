"""Is every good file restored, once, and right, and has every broken one its reason?"""

from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.archive.recordings import Made
from bench.service import Door


def shortcomings(
    made: Made, target: Path, report: dict[str, dict[str, Any]], right: dict[str, str], jobs: list[dict[str, Any]]
) -> list[str]:
    """List what is not as it must be."""
    found: list[str] = []
    for path, kind in made.good.items():
        line = report.get(path)
        if line is None or line["status"] not in ("restored", "unchanged"):
            found.append(f"{path!r} is {line and line['status']}: {line and line['error']}")
            continue
        place = target / line["output"]
        digest = sha256(place.read_bytes()).hexdigest() if place.is_file() else "nothing"
        if not digest == line["sha256_out"] == right[kind]:
            found.append(f"{path!r}: {digest} lies there, {line['sha256_out']} is reported, {right[kind]} is right")
    for path in made.broken:
        line = report.get(path)
        if line is None or line["status"] != "failed" or not (line["error"] or {}).get("message"):
            found.append(f"{path!r} has no reason: {line}")
    found += [f"{path!r} is not skipped" for path in made.strangers if report.get(path, {}).get("status") != "skipped"]
    found += [f"{path} is left over" for path in target.rglob("*.part")]
    outputs = [line["output"] for line in report.values() if line["output"]]
    found += [f"{output!r} is the output of {times} files" for output, times in Counter(outputs).items() if times > 1]
    return found + _counted(made, jobs)


def archive_jobs(door: Door) -> list[dict[str, Any]]:
    """List the jobs that the command has made, from the records."""
    jobs: list[dict[str, Any]] = []
    page: str | None = "/v1/jobs?limit=100"
    while page is not None:
        answer = door.get(page)
        jobs += [job for job in answer["jobs"] if str(job["client_id"] or "").startswith("archive-")]
        page = answer["next"]
    return jobs


def _counted(made: Made, jobs: list[dict[str, Any]]) -> list[str]:
    """Every good file had one job, every broken one at most one: those of no byte are refused before."""
    succeeded = sum(job["status"] == "succeeded" for job in jobs)
    failed = len(jobs) - succeeded
    found = []
    if succeeded != len(made.good):
        found.append(f"{succeeded} jobs for {len(made.good)} good files")
    if failed > len(made.broken):
        found.append(f"{failed} jobs for {len(made.broken)} broken files")
    return found
