"""Batches: many jobs asked for at once, made a few at a time."""
