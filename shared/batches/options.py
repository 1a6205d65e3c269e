"""What is asked of an item's job: its own options before those of the batch."""

from typing import Any


def merged(common: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Put options together; of `output`, too, an item's own fields win. A batch's jobs are `bulk` if nothing else."""
    options = {"priority": "bulk", **common, **own}
    if isinstance(common.get("output"), dict) and isinstance(own.get("output"), dict):
        options["output"] = {**common["output"], **own["output"]}
    return options
