"""Webhooks (Standard Webhooks 1.0): who is told what, signed with which secret, and what became of it."""
