"""Preloaded models behind one thread that batches."""

from worker.engine.engine import Engine, RestoreItem, VocodeItem
from worker.engine.memory import MemoryExhausted

__all__ = ["Engine", "MemoryExhausted", "RestoreItem", "VocodeItem"]
