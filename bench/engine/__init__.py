"""Our engine against the voicefixer package, in paired processes: ``python -m bench.engine``."""
