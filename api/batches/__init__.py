"""Batches over HTTP: many jobs asked for at once."""
