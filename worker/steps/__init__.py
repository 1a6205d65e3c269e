"""The four steps of a job, as plain functions of a task."""

from worker.steps.restore import restore
from worker.steps.split import split
from worker.steps.stitch import stitch
from worker.steps.vocode import vocode

__all__ = ["restore", "split", "stitch", "vocode"]
