"""Batches: one process makes their jobs, a few at a time, and gathers what became of them."""

from worker.batches.context import batch_desk
from worker.batches.leader import BatchLeader

__all__ = ["BatchLeader", "batch_desk"]
