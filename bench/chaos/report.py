"""What a run has shown: counted, judged and printed."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from bench.chaos.oracle import Outcome
from shared.jobs import Status

MOST_RECOVERY = 15.0
"""Seconds, of the median."""
MOST_CALLS = 1.3
"""Times the needed."""


@dataclass(frozen=True)
class Found:
    """
    What a run has shown.

    Attributes:
        accepted: jobs that were answered 202
        unacknowledged: jobs whose sender got no answer, and that there are all the same
        failed: why jobs failed, and how often
        lost: accepted jobs that are not known any more
        stuck: jobs that were not over in time
        wrong: jobs that succeeded with another result than undisturbed, or with none that can be fetched
        twice: jobs that ended more than once, or have more than one result
        calls, needed: calls of networks, and how many all jobs need undisturbed
        recovery: seconds until what a dead worker had in hand was taken up again, by death
        leftovers: keys and objects that nothing explains

    """

    accepted: int
    unacknowledged: int
    succeeded: int
    failed: dict[str, int]
    lost: int
    stuck: int
    wrong: int
    twice: int
    calls: int
    needed: int
    recovery: list[float] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    @property
    def median(self) -> float | None:
        """Of the recovery."""
        return statistics.median(self.recovery) if self.recovery else None


def judge(
    outcomes: Sequence[Outcome],
    accepted: set[str],
    *,
    results: Mapping[str, str],
    needed: Mapping[str, int],
    calls: int,
    recovery: Sequence[float] = (),
    leftovers: Sequence[str] = (),
) -> Found:
    """Count what became of the jobs.

    Args:
        outcomes: of all jobs, also those whose sender got no answer.
        accepted: ids of those that were answered 202.
        results: sha256 of the undisturbed result, by kind.
        needed: calls of networks, by kind.
        calls: that there were.
        recovery: see `Found`.
        leftovers: see `Found`.
    """
    good = [one for one in outcomes if one.status is Status.SUCCEEDED]
    return Found(
        accepted=len(accepted),
        unacknowledged=sum(one.job_id not in accepted for one in outcomes),
        succeeded=len(good),
        failed=dict(Counter(f"{one.status}: {one.error}" for one in outcomes if one.over and one not in good)),
        lost=sum(one.status is None for one in outcomes),
        stuck=sum(one.status is not None and not one.over for one in outcomes),
        wrong=sum(one.sha256 != results[one.kind] for one in good),
        twice=sum(one.endings > 1 or one.results > 1 for one in outcomes),
        calls=calls,
        needed=sum(needed[one.kind] for one in outcomes if one.kind),
        recovery=[round(seconds, 2) for seconds in recovery],
        leftovers=list(leftovers),
    )


def shortcomings(found: Found) -> list[str]:
    """Name what is not as it must be."""
    most = {"lost": found.lost, "stuck": found.stuck, "wrong": found.wrong, "run twice": found.twice}
    short = [f"{name}: {count}" for name, count in most.items() if count]
    short += [f"failed, {why}: {count}" for why, count in found.failed.items()]
    if not found.succeeded:
        short.append("no job succeeded")
    if found.median is None or found.median > MOST_RECOVERY:
        short.append(f"recovery: {found.median} s")
    if found.calls > MOST_CALLS * found.needed:
        short.append(f"calls: {found.calls} of {found.needed} needed")
    if found.leftovers:
        short.append(f"leftovers: {len(found.leftovers)}")
    return short


def harmed(found: Found) -> int:
    """Count the jobs that were lost, or run twice to an effect: what a run without leases is to show."""
    return found.lost + found.stuck + found.wrong + found.twice


def table(found: Found) -> str:
    """Show it to people."""
    recovery = f"median {found.median:.1f} s, worst {max(found.recovery):.1f} s" if found.recovery else "not seen"
    rows = [
        ("jobs accepted", str(found.accepted)),
        ("unacknowledged besides", str(found.unacknowledged)),
        ("succeeded", str(found.succeeded)),
        ("failed", "; ".join(f"{count} × {why}" for why, count in found.failed.items()) or "0"),
        ("lost", str(found.lost)),
        ("stuck", str(found.stuck)),
        ("another result than undisturbed", str(found.wrong)),
        ("run twice to an effect", str(found.twice)),
        ("recovery of a dead worker's work", f"{recovery} ({len(found.recovery)} deaths in the midst of it)"),
        ("calls of networks", f"{found.calls}, needed {found.needed} ({found.calls / max(1, found.needed):.2f} times)"),
        ("leftovers", ", ".join([str(len(found.leftovers)), *found.leftovers[:8]])),
    ]
    return "\n".join(f"{name:<34} {value}" for name, value in rows)


def summary(found: Found) -> dict[str, object]:
    """Give it to machines."""
    told = asdict(found) | {"leftovers": len(found.leftovers)}
    told["recovery"] = {
        "deaths": len(found.recovery),
        "median": found.median,
        "worst": max(found.recovery, default=None),
    }
    return told
