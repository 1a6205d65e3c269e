"""Preloaded models behind one thread that batches."""

from worker.engine.engine import Engine, RestoreItem, VocodeItem

__all__ = ["Engine", "RestoreItem", "VocodeItem"]
