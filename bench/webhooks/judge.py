"""What the receiver has heard, against what is true of the jobs."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

OVER = ("succeeded", "failed", "canceled", "expired")
PLACES = ("job", "endpoint")

Line = dict[str, Any]


@dataclass
class Found:
    """
    What a run has shown.

    Attributes:
        jobs: by how they ended
        requests: by how the receiver treated them
        kills: by what was killed
        missing: "place job", of which the receiver has not taken the end
        untrue: the same, where the event of the highest sequence does not tell the job's state
        odd: messages whose id, sequence and content do not belong together
        unverified, followed: requests that did not verify; redirects that were followed
        accepted_harm: kinds of tampering that verified
        unsettled: deliveries that the service did not note as delivered
        again: messages that were taken more than once
        first_attempt_seconds: from the event to the first attempt, in the median and of 95 %
        seconds: that it took

    """

    jobs: dict[str, int] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    kills: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    unverified: int = 0
    followed: int = 0
    accepted_harm: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)
    again: int = 0
    first_attempt_seconds: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether all is as it should be."""
        faults = (self.missing, self.untrue, self.odd, self.accepted_harm, self.unsettled)
        return not (any(faults) or self.unverified or self.followed)

    def as_json(self) -> dict[str, Any]:
        """Give it for printing."""
        return {**asdict(self), "good": self.good}


def missing(lines: Iterable[Line], jobs: Iterable[str]) -> list[str]:
    """Tell at which place the end of which job was not taken."""
    taken = {(line["place"], line["job"]) for line in lines if line["how"] == "taken" and line["status"] in OVER}
    return [f"{place} {job}" for job in jobs for place in PLACES if (place, job) not in taken]


def judge(lines: list[Line], states: Mapping[str, str]) -> Found:
    """Compare the receiver's lines with the states that jobs have ended in."""
    heard = [line for line in lines if "id" in line]
    counts = Counter(line["how"] for line in lines)
    delays = _first_delays(heard)
    return Found(
        jobs=dict(Counter(states.values())),
        requests=dict(counts),
        missing=missing(heard, states),
        untrue=_untrue(heard, states),
        odd=_odd(heard),
        unverified=counts["unverified"],
        followed=counts["followed"],
        again=sum(
            count - 1
            for count in Counter((line["place"], line["id"]) for line in heard if line["how"] == "taken").values()
        ),
        first_attempt_seconds=_summary(delays),
    )


def _untrue(heard: list[Line], states: Mapping[str, str]) -> list[str]:
    """Order what was heard by sequence alone: the last must be the truth, whenever it arrived."""
    last: dict[tuple[str, str], Line] = {}
    for line in heard:
        name = (line["place"], line["job"])
        if name not in last or line["sequence"] > last[name]["sequence"]:
            last[name] = line
    return [f"{place} {job}" for (place, job), line in last.items() if line["status"] != states.get(job)]


def _odd(heard: list[Line]) -> list[str]:
    """An id stands for one event of one job, with one body; an event for one id at each place."""
    contents, ids = defaultdict(set), defaultdict(set)
    for line in heard:
        contents[line["id"]].add((line["place"], line["job"], line["sequence"], line["body"]))
        ids[line["place"], line["job"], line["sequence"]].add(line["id"])
    return [one for one, found in contents.items() if len(found) > 1] + [
        " ".join(sorted(found)) for found in ids.values() if len(found) > 1
    ]


def _first_delays(heard: list[Line]) -> list[float]:
    first: dict[tuple[str, str], float] = {}
    for line in heard:
        happened = datetime.fromisoformat(line["timestamp"]).timestamp()
        first.setdefault((line["place"], line["id"]), line["at"] - happened)
    return sorted(first.values())


def _summary(delays: list[float]) -> dict[str, float]:
    if not delays:
        return {}
    return {
        "median": round(statistics.median(delays), 3),
        "p95": round(delays[int(0.95 * (len(delays) - 1))], 3),
    }
