"""The models of a worker: loaded before it takes work or when they are asked for, behind threads that batch."""

from worker.engine.engine import Engine, engine_of
from worker.engine.items import RestoreItem, VocodeItem
from worker.engine.memory import MemoryExhausted

__all__ = ["Engine", "MemoryExhausted", "RestoreItem", "VocodeItem", "engine_of"]
