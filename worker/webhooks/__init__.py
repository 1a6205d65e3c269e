"""Sends what is owed to receivers of webhooks."""
