"""Who did what of a job, and how long it took: kept while the job runs, for its receipt."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from shared.records.pieces import Kind
from shared.records.view import read_label


@dataclass(frozen=True)
class Effort:
    """What workers spent on a stage with one model.

    Attributes:
        kind: the stage.
        seconds: of all workers, added up.
        label: of the model, word by word; empty for a stage without one.
    """

    kind: Kind
    seconds: float
    label: Mapping[str, str]


def read_efforts(spent: Mapping[str, str], *, labels: Mapping[str, str]) -> list[Effort]:
    """Read the fields `spent:stage` and `spent:stage:number of a label` of a record, in their order."""
    found = []
    for field, seconds in sorted(spent.items()):
        _, kind, number = f"{field}:".split(":")[:3]
        found.append(Effort(cast(Kind, kind), float(seconds), read_label(labels.get(f"n:{number}", ""))))
    return found
